# Runs a server that must not outlive who started it. $1 is its private directory, the rest its command.
#
# Descriptor 3 is a pipe of which the starter holds the other end, as does an initdb that works for it. The first line on it starts the server.
# A second one, or the end of the pipe, which comes with the end of the starter however that happens, stops it. Last of all the directory goes.

dir=$1
shift

# TERM takes effect even before the server has installed its handlers, when the shell has it ignore QUIT. After that, TERM alone would
# wait for its clients, and QUIT does not. KILL would leave shared memory behind.
end() {
	kill -TERM "$server"
	kill -QUIT "$server"
} 2>/dev/null

if read -r _ <&3; then
	"$@" 3<&- </dev/null &
	server=$!
	(
		trap '' HUP INT TERM
		read -r _ <&3
		end
	) &
	watcher=$!
	trap end HUP INT TERM
	while kill -0 "$server" 2>/dev/null; do # a signal ends wait, but not yet the server
		wait "$server"
	done
	kill -KILL "$watcher" 2>/dev/null
	wait "$watcher" 2>/dev/null
fi

rm -rf "$dir"
