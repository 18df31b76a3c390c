#!/bin/sh
# The command of a container: `train`, `evaluate` … are commands of `ssd`; `tensorboard`, `torchrun`
# and `benchmark` are what they are everywhere. `exec`, so that SIGTERM reaches them: train saves.
case "$1" in
tensorboard | torchrun) exec "$@" ;;
benchmark)
    shift
    exec python "$(dirname "$0")/benchmark.py" "$@"
    ;;
check_data)
    shift
    exec ssd check "$@"
    ;;
esac
exec ssd "$@"
