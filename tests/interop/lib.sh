# For the scripts beside it: a server of ours, and where things are. Sourced.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
zoobridge=${ZOOBRIDGE:-$root/target/release/zoobridge}
dir=$(mktemp -d)

# A port that was free a moment ago.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# serve DIR PORT [KEY=VALUE…]: starts our server, and waits until it listens. Its pid is in DIR/pid.
serve() {
  mkdir -p "$1"
  local more=()
  for setting in "${@:3}"; do more+=(--set "$setting"); done
  "$zoobridge" server --set "dataDir=$1/data" --set "clientPort=$2" --set clientPortAddress=127.0.0.1 \
    --set tickTime=1000 --set '4lw.commands.whitelist=*' "${more[@]}" >> "$1/log" 2>&1 &
  echo $! > "$1/pid"
  disown
  for _ in $(seq 100); do
    (exec 3<> "/dev/tcp/127.0.0.1/$2") 2> /dev/null && return
    sleep 0.1
  done
  cat "$1/log" >&2
  exit 1
}

# stop DIR: ends the server with SIGTERM, and waits.
stop() {
  local pid
  pid=$(cat "$1/pid")
  kill "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
}

clean_up() {
  for pid in "$dir"/*/pid; do kill -9 "$(cat "$pid" 2> /dev/null)" 2> /dev/null || true; done
  rm -rf "$dir"
}
trap clean_up EXIT
