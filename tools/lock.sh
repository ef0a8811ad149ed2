#!/usr/bin/env bash
# Writes requirements/dev.txt and requirements/runtime.txt from pyproject.toml: every package that
# gets installed, with its hashes, for CPython 3.11 to 3.14 on Linux and macOS.
#
#   tools/lock.sh                    keeps the versions that still fit
#   tools/lock.sh --upgrade          takes the newest of everything
#   tools/lock.sh --upgrade-package starlette
#
# The files name no package index on purpose: each machine uses the one that its pip is set up for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.13.8,<0.14'

compile() {
    local output=$1
    shift
    "$scratch/venv/bin/uv" pip compile pyproject.toml "$@" \
        --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate \
        --custom-compile-command tools/lock.sh \
        --output-file "$output"
    echo "$output: $(grep -c '==' "$output") packages"
}

# The larger set first: the smaller one is then held to the same versions, so that a runtime
# environment can be turned into a development one, and back, without changing a package.
compile requirements/dev.txt --group dev "$@"
sed -E '/^ *--hash/d; s/ *\\$//' requirements/dev.txt >"$scratch/versions.txt"
compile requirements/runtime.txt --group build --constraint "$scratch/versions.txt"
