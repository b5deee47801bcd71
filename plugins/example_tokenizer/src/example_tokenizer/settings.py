"""What can be set in an ablation's YAML."""

from attrs import field, frozen, validators


@frozen(kw_only=True)
class ExampleFsqSettings:
    """The number of codes is the product of the levels."""

    patch_size: int = field(default=4, validator=validators.ge(1))
    width: int = field(default=96, validator=validators.ge(1))
    levels: tuple[int, ...] = (8, 8, 4)
