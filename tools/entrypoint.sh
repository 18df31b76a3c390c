#!/bin/sh
# What a container does: `train`, `evaluate` … run the tool of that name, `tensorboard` and
# `torchrun` are what they are everywhere. `exec`, so that SIGTERM reaches them: train.py saves.
tools=$(dirname "$0")
case "$1" in
tensorboard | torchrun) exec "$@" ;;
esac
tool=$tools/$1.py
if [ -f "$tool" ]; then
    shift
    exec python "$tool" "$@"
fi
names=$(cd "$tools" && echo *.py | sed 's/\.py//g; s/ /, /g')
echo "error: there is no command '$1': give one of $names, tensorboard, torchrun" >&2
exit 2
