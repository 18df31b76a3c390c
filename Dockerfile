# One image for training, evaluation and TensorBoard, on NVIDIA GPUs or a CPU: see docs/docker.md.
# torch's wheel brings CUDA, the host brings the driver.
ARG BASE=python:3.13-slim
FROM ${BASE}
WORKDIR /app

# What changes rarely comes first: an edit of the code installs nothing again.
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*project["dependencies"], *project["optional-dependencies"]["fast"], sep="\n")' \
    > /tmp/requirements.txt \
    && pip install --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# `docker run --user` may bring an owner whose number has no name here. It can write to the folders
# below, and is told the name that torch would look up.
RUN useradd --uid 1000 ssd \
    && install --directory --mode 1777 /home/ssd /home/ssd/.cache runs datasets
ENV HOME=/home/ssd USER=ssd PYTHONPATH=/app NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY LICENSE ./
COPY configs configs/
COPY ssd ssd/
COPY benchmarks benchmarks/
COPY tools tools/
RUN chmod -R a+rX .

# .git stays outside; environment.json of every run has the commit from here.
ARG COMMIT=
ENV SSD_COMMIT=${COMMIT}
LABEL org.opencontainers.image.revision=${COMMIT}

USER 1000
ENTRYPOINT ["/app/tools/entrypoint.sh"]
