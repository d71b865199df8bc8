#!/usr/bin/env bash
# One Apache Kafka broker without Docker: scripts/kafka.sh libs (fetch its jars, once) | run (in the foreground).
# EDGELOOP_KAFKA_PORT (9092; the one above it is the controller's) and EDGELOOP_KAFKA_DATA (.kafka/data) move it.
set -euo pipefail
cd "$(dirname "$0")/.."
libs=$PWD/.kafka/libs
stamp=$libs/.$(sha256sum deploy/kafka/pom.xml | cut -c1-12)
say() { echo "kafka: $*" >&2; }
give_up() { say "$*"; exit 1; }

need() { # need COMMAND DEBIAN_PACKAGE
  command -v "$1" >/dev/null || give_up "$1 is missing. Run as root: apt-get update && apt-get install -y --no-install-recommends $2"
}

libs() {
  [ -e "$stamp" ] && return
  need mvn maven
  mkdir -p .kafka
  # Two that start at once fetch once.
  ! command -v flock >/dev/null || { exec 9>.kafka/lock; flock 9; [ ! -e "$stamp" ] || return 0; }
  say "fetching Apache Kafka from Maven Central into .kafka/libs (55 MB, only this first time)"
  rm -rf .kafka/new
  if ! mvn -q -B -f deploy/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/.kafka/new" >.kafka/maven.log 2>&1; then
    grep -m 3 -a ERROR .kafka/maven.log | cut -c1-300 >&2
    give_up "the jars could not be fetched. Is Maven Central reachable (a proxy or mirror belongs in ~/.m2/settings.xml)? Then run the same again; all that Maven said is in .kafka/maven.log"
  fi
  rm -rf "$libs"
  mv .kafka/new "$libs"
  touch "$stamp"
  exec 9>&-
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

run() {
  local data=${EDGELOOP_KAFKA_DATA:-.kafka/data} port=${EDGELOOP_KAFKA_PORT:-9092} version
  [[ $port =~ ^[0-9]{1,5}$ ]] && ((port >= 1 && port <= 65534)) || give_up "EDGELOOP_KAFKA_PORT must be 1 to 65534, not '$port'"
  need java default-jre-headless
  version=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/.*java.specification.version = //p')
  ((${version%%.*} >= 17)) || give_up "Apache Kafka needs Java 17 or newer, and $(command -v java) is $version. Put a newer one first on the PATH"
  libs
  for taken in "$port" $((port + 1)); do
    ! listens "$taken" || give_up "something listens on 127.0.0.1:$taken already. Choose another: EDGELOOP_KAFKA_PORT=9192 make kafka"
  done
  mkdir -p "$data"
  data=$(cd "$data" && pwd)
  cat >"$data/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/log
auto.create.topics.enable=false
message.max.bytes=2097152
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
  local log=$data/broker.log
  local java=(java -Xmx768m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss" -cp "$libs/*")
  if [ ! -e "$data/log/meta.properties" ]; then
    # A first "-" would be taken for an option.
    "${java[@]}" kafka.tools.StorageTool format -t "A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-21)" \
      -c "$data/server.properties" >"$log" 2>&1 \
      || { tail -5 "$log" >&2; give_up "the data folder $data could not be made"; }
  fi
  local broker='' stopped=''
  trap 'stopped=1; kill -TERM $broker 2>/dev/null || true' INT TERM HUP
  # In the background it does not hear Ctrl-C itself, so that it is stopped once, and waited for.
  "${java[@]}" kafka.Kafka "$data/server.properties" >>"$log" 2>&1 &
  broker=$!
  until listens "$port"; do
    kill -0 $broker 2>/dev/null || break
    sleep 0.2
  done
  if kill -0 $broker 2>/dev/null && [ -z "$stopped" ]; then
    say "a broker on 127.0.0.1:$port, its log in $log (Ctrl-C stops it). Next, in another terminal:"
    echo "EDGELOOP_KAFKA_BOOTSTRAP=127.0.0.1:$port .venv/bin/edgeloop topics create"
  fi
  # A trapped signal ends a wait before the broker has ended.
  while kill -0 $broker 2>/dev/null; do wait $broker || true; done
  if [ -z "$stopped" ]; then tail -15 "$log" >&2; give_up "the broker ended by itself; its log is $log"; fi
  say "stopped; topics and records stay in $data"
}

case ${1:-} in libs) libs ;; run) run ;; *) echo "usage: $0 libs|run" >&2; exit 2 ;; esac
