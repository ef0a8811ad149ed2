#!/usr/bin/env bash
# A newcomer's first minute, as the README tells it: clone, `make serve` in a clean environment, then
# the very curl line and Python snippet that the first start prints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

port=${SMOKE_PORT:-18765}
room=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$room"' EXIT

git clone --quiet . "$room/groxy"
mkdir "$room/home"
cd "$room/groxy"
# What installing needs from the outside (proxies, package indexes) is all that is passed on.
clean=(env -i "HOME=$room/home" "PATH=$PATH")
for name in $(compgen -e | grep -iE '^(pip_|https?_proxy$|no_proxy$|ssl_cert|requests_ca)' || true); do
    clean+=("$name=${!name}")
done
[ ! -f "$HOME/.config/pip/pip.conf" ] || clean+=("PIP_CONFIG_FILE=$HOME/.config/pip/pip.conf")
[ ! -f "$HOME/.pip/pip.conf" ] || clean+=("PIP_CONFIG_FILE=$HOME/.pip/pip.conf")

"${clean[@]}" make serve ARGS="--port $port --data-dir $room/data" >"$room/said" 2>"$room/log" &
server=$!
for _ in $(seq 1 1200); do
    grep -q '^print(' "$room/said" && break
    kill -0 "$server" 2>/dev/null || { cat "$room/said" "$room/log"; exit 1; }
    sleep 0.1
done
cat "$room/said"

echo "-- the printed curl line"
grep '^curl ' "$room/said" >"$room/try.sh"
bash "$room/try.sh" | tee "$room/reply" | head -c 600
echo
grep -q '"finish_reason":"stop"' "$room/reply"

echo "-- the printed Python snippet"
sed -n '/^from openai/,/^print(/p' "$room/said" >"$room/try.py"
python=${SMOKE_PYTHON:-$OLDPWD/.venv/bin/python}
"$python" "$room/try.py" | tee "$room/reply"
grep -q . "$room/reply"

echo "-- the books"
"$room/groxy/.venv/bin/groxy" ledger last --data-dir "$room/data" | tee "$room/books"
[ "$(grep -c ' ok ' "$room/books")" -eq 2 ]
echo "smoke run: all well"
