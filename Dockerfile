# One image for training, evaluation and TensorBoard, on NVIDIA GPUs or a CPU; see docs/docker.md.
# torch's wheel contains CUDA; the host provides the driver.
ARG BASE=python:3.13-slim
FROM ${BASE}
WORKDIR /app

# Triton builds its driver with a C compiler when a training on a GPU launches its first kernel.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# The dependencies rarely change, so they come first: an edit of the code reinstalls nothing.
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*project["dependencies"], *project["optional-dependencies"]["fast"], sep="\n")' \
    > /tmp/requirements.txt \
    && pip install --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# `docker run --user` may name a uid that has no user here. The folders below are writable for it,
# and USER gives it the name that torch would otherwise look up.
RUN useradd --uid 1000 ssd \
    && install --directory --mode 1777 /home/ssd /home/ssd/.cache runs datasets
ENV HOME=/home/ssd USER=ssd NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY LICENSE README.md ./
COPY configs configs/
COPY ssd ssd/
COPY benchmarks benchmarks/
COPY tools tools/
RUN pip install --no-cache-dir --no-deps --editable . && chmod -R a+rX .

# .git is not copied; the environment.json of every run takes the commit from here.
ARG COMMIT=
ENV SSD_COMMIT=${COMMIT}
LABEL org.opencontainers.image.revision=${COMMIT}

USER 1000
ENTRYPOINT ["/app/tools/entrypoint.sh"]
