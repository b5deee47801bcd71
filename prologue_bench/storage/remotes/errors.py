"""What goes wrong with a remote, in one line each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from prologue_bench.errors import PrologueBenchError
from prologue_bench.guard import brief, pass_interrupt
from prologue_bench.storage.artifacts import Damage

ADVICE = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "FSSPEC_S3_ANON=true reads a public bucket",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; "
    "FSSPEC_GS_TOKEN=anon reads a public bucket",
    "ssh": "add a key to the agent or name it in ~/.ssh/config, as for ssh itself",
}
"""How credentials are given."""
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
UNREACHABLE = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ServerDisconnectedError",
    "ConnectionLost",
    "FSTimeoutError",
    "gaierror",
)
"""Classes by name: the libraries are imported only where a URL asks for them."""
SKEWED = ("RequestTimeTooSkewed", "difference between the request time", "Invalid JWT")


class RemoteError(PrologueBenchError):
    """A remote that does not do what it is asked; the text names its URL and says why."""


@contextmanager
def asking(url: str, kind: str, writing: bool = False) -> Iterator[None]:
    """Whatever a library raises inside becomes a RemoteError.

    But what says that a file is not there, or where one is written, that it is there already.
    """
    try:
        yield
    except (PrologueBenchError, Damage):
        raise
    except FileNotFoundError as error:
        if not writing:
            raise
        raise RemoteError(f"{url}: no such bucket or folder ({brief(error)})") from None
    except FileExistsError:
        raise
    except BaseException as error:
        pass_interrupt(error)
        raise RemoteError(f"{url}: {_reason(error, kind)}") from None


def _reason(error: BaseException, kind: str) -> str:
    names, text = _class_names(error), str(error)
    if any(each in text for each in SKEWED):
        return f"this machine's clock differs from the server's; set it ({brief(error)})"
    if names & {"HostKeyNotVerifiable"}:
        return "the server's key is not in ~/.ssh/known_hosts; connect to it once by ssh, and check"
    if names & set(NO_CREDENTIALS):
        return f"no credentials were found; {ADVICE.get(kind, brief(error))}"
    if isinstance(error, PermissionError) or "PermissionDenied" in names:
        if kind not in ADVICE:
            return f"no permission ({brief(error)})"
        return f"no permission, or credentials not accepted ({brief(error)}); {ADVICE[kind]}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left there; free some, and the same command goes on"
    if isinstance(error, ConnectionError | TimeoutError) or names & set(UNREACHABLE):
        return f"cannot be reached ({brief(error)})"
    return brief(error)


def _class_names(error: BaseException) -> set[str]:
    """The names of an error's classes, and of those that led to it."""
    names: set[str] = set()
    seen: BaseException | None = error
    while seen is not None:
        names |= {each.__name__ for each in type(seen).__mro__}
        seen = seen.__cause__ or seen.__context__
    return names
