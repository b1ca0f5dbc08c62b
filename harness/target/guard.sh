# Ends a group of processes that must not outlive who started it. $1 is for how many tenths of a second it may take to end.
#
# Descriptor 3 is a pipe of which the starter holds the other end. The first line on it is the group. A second one says that the group is gone;
# the end of the pipe without it, that the starter is.

trap '' HUP INT TERM

read -r group <&3 || exit 0
read -r _ <&3 && exit 0
kill -TERM "-$group" || exit 0
left=$1
while [ "$left" -gt 0 ] && kill -0 "-$group"; do
	sleep 0.1
	left=$((left - 1))
done
kill -KILL "-$group"
