#!/usr/bin/env bash
# Shows fyke's main job: packets go from a client through a router to a server, each in a network namespace of
# its own; one of them is dropped. fyke records them in the kernel and puts each one's journey together.
# Everything it makes is in namespaces of its own, and goes when it ends.
set -u
cd "$(dirname "$0")/.." || exit 1
fyke=${FYKE:-.venv/bin/fyke}
tag=fyke-demo-$$
client=$tag-client router=$tag-router server=$tag-server
work=$(mktemp -d)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

clean_up() {
	for name in "$client" "$router" "$server"; do ip netns del "$name" 2>/dev/null; done
	rm -rf "$work"
}
trap clean_up EXIT

replay() {
	say "$1 So here is a recording of this demo, made elsewhere: fyke sort tools/demo.arrow"
	"$fyke" sort --no-pager tools/demo.arrow
	exit $?
}

make_network() {
	for name in "$client" "$router" "$server"; do
		ip netns add "$name" && ip -n "$name" link set lo up || return 1
		# IPv6 talks by itself; here it would only be in the way.
		ip netns exec "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	done
	ip link add to-router netns "$client" type veth peer name to-client netns "$router" &&
		ip link add to-server netns "$router" type veth peer name to-router netns "$server" &&
		ip -n "$client" addr add 10.0.1.2/24 dev to-router &&
		ip -n "$router" addr add 10.0.1.1/24 dev to-client &&
		ip -n "$router" addr add 10.0.2.1/24 dev to-server &&
		ip -n "$server" addr add 10.0.2.2/24 dev to-router || return 1
	for pair in "$client to-router" "$router to-client" "$router to-server" "$server to-router"; do
		# shellcheck disable=SC2086
		set -- $pair
		ip -n "$1" link set "$2" up || return 1
	done
	ip -n "$client" route add default via 10.0.1.1 && ip -n "$server" route add default via 10.0.2.1 &&
		ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1
}

[ "$(id -u)" = 0 ] || replay "Collecting needs root, which this isn't."
"$fyke" doctor >"$work/doctor" 2>&1 || { cat "$work/doctor"; replay "This machine doesn't permit BPF."; }
make_network || replay "Network namespaces can't be made here."

say "A client (10.0.1.2), a router and a server (10.0.2.2), each in its own network namespace."
say "fyke collect records while the client pings the server, then sends a datagram to a port nobody listens on:"
traffic="ip netns exec $client ping -c 1 -W 2 10.0.2.2
ip netns exec $client bash -c 'echo hello > /dev/udp/10.0.2.2/4242'
sleep 0.3"
"$fyke" collect -o "$work/demo.arrow" --cmd "$traffic" || replay "The collection failed."

say "fyke sort: each packet's journey, from namespace to namespace. The ns number changes at each veth, ttl at the router:"
"$fyke" sort --no-pager "$work/demo.arrow" >"$work/journeys" || exit 1
# A journey is a paragraph; those that touch none of the demo's devices are other traffic of this machine.
awk -v RS= -v ORS='\n\n' 'NR == 1 || /\(to-(client|router|server)\)/' "$work/journeys"

say "And the datagram that got no answer. The kernel's reason:"
"$fyke" print --no-pager --format single-line "$work/demo.arrow" |
	grep " drop .* > 10\.0\.2\.2\.4242 " || {
	echo "the drop was not seen" >&2
	exit 1
}
[ -z "${FYKE_DEMO_RECORD:-}" ] || cp "$work/demo.arrow" "$FYKE_DEMO_RECORD"
