# The program with all that its reports need. On a CPU:
#   docker build --tag prologue-bench .
# on an NVIDIA GPU (run with --gpus all):
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 --tag prologue-bench:cuda .
# Results, and the store in .cache, lie in /runs:
#   docker run --volume "$PWD:/runs" prologue-bench run prologue_count --profile smoke
FROM python:3.13-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/prologue-bench
ENV PATH=/opt/prologue-bench/bin:$PATH
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"
COPY . /source
RUN pip install --no-cache-dir "/source[vq,diffusers,trackers,parquet,s3,http,ray]"

FROM python:3.13-slim
COPY --from=build /opt/prologue-bench /opt/prologue-bench
ENV PATH=/opt/prologue-bench/bin:$PATH XDG_CACHE_HOME=/runs/.cache
WORKDIR /runs
ENTRYPOINT ["prologue-bench"]
CMD ["--help"]
