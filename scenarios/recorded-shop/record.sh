#!/usr/bin/env bash
# Starts the shop in network namespaces, lets it talk, and records it:
#
#   sudo scenarios/recorded-shop/record.sh OUT [RULES]
#
# writes OUT/shop.pcap (what tcpdump saw on every interface of the node) and OUT/attempts.jsonl (what the processes say
# became of their attempts). With RULES, a folder with ipset.save and iptables.save, the node loads these before.
# Everything is in namespaces of its own and is gone at the end.
set -euo pipefail
out=$1 rules=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
id=cw$$
node=$id-node
pods=(shop/web:10 shop/api:11 shop/mysql:12 kube-system/dns:13 shop/client:14 default/intruder:15)
mkdir -p "$out"
: >"$out/attempts.jsonl"
work=$(mktemp -d)
pids=()

cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  exec 9>&- || true
  for pod in "${pods[@]}"; do ip netns delete "$id-${pod##*:}" 2>/dev/null || true; done
  ip netns delete "$node" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

ip netns add "$node"
on_node() { ip netns exec "$node" "$@"; }
on_node ip link set lo up
on_node ip link add kube-bridge type bridge
on_node ip address add 10.10.1.1/24 dev kube-bridge
on_node ip link set kube-bridge up
on_node sysctl -q -w net.ipv4.ip_forward=1
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || on_node sysctl -q -w net.bridge.bridge-nf-call-iptables=1
for pod in "${pods[@]}"; do
  number=${pod##*:}
  ip netns add "$id-$number"
  on_node ip link add "veth$number" type veth peer name eth0 netns "$id-$number"
  on_node ip link set "veth$number" master kube-bridge up
  ip -n "$id-$number" link set lo up
  ip -n "$id-$number" address add "10.10.1.$number/24" dev eth0
  ip -n "$id-$number" link set eth0 up
  ip -n "$id-$number" route add default via 10.10.1.1
done

if [ -n "$rules" ]; then
  [ ! -s "$rules/ipset.save" ] || on_node ipset restore <"$rules/ipset.save"
  on_node iptables-legacy-restore <"$rules/iptables.save"
fi

ip netns exec "$node" tcpdump -n -i any -s 256 -U --immediate-mode -w "$out/shop.pcap" ip 2>"$work/tcpdump" &
capture=$!
pids+=("$capture")
for _ in $(seq 50); do grep -q "listening on" "$work/tcpdump" && break || sleep 0.1; done

# One pipe that all pods read: it is written to once, when the servers listen.
mkfifo "$work/go"
exec 9<>"$work/go"
talkers=0
for pod in "${pods[@]}"; do
  name=${pod%%:*} number=${pod##*:}
  mkfifo "$work/go$number"
  ip netns exec "$id-$number" node "$here/pod.mjs" "$name" "$out/attempts.jsonl" <>"$work/go$number" &
  pids+=("$!")
  talkers=$((talkers + 1))
done
listening() { ip netns exec "$id-$1" ss -Hln "$2" "sport = :$3" | grep -q .; }
for _ in $(seq 100); do
  listening 10 -t 80 && listening 11 -t 3000 && listening 12 -t 3306 && listening 13 -u 53 && break
  sleep 0.1
done

for pod in "${pods[@]}"; do echo go >"$work/go${pod##*:}"; done
for _ in $(seq 200); do
  [ "$(grep -c '"done":true' "$out/attempts.jsonl" || true)" -ge "$talkers" ] && break
  sleep 0.1
done
[ "$(grep -c '"done":true' "$out/attempts.jsonl" || true)" -ge "$talkers" ] || { echo "some pod did not finish" >&2; exit 1; }
sleep 0.3
kill -INT "$capture"
wait "$capture" || true
pids=("${pids[@]:1}")
