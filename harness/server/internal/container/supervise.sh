# The first process of the container. "$@" is the server's command.
#
# Standard input is held open by whoever wants the server. It closes when they stop it, and when they have ended, however that happened.
# The container lasts as long as this process, and the kernel ends what else there is in it.

exec 3<&0 </dev/null
trap 'exit 0' HUP INT TERM

# prepare initialises the cluster. Left to itself, the image's script starts and stops a server after that, to run the scripts that the image
# brings; where there are none, that only takes time.
prepare() {
	for script in /docker-entrypoint-initdb.d/*; do
		if [ -e "$script" ]; then
			return 1
		fi
	done
	as=
	if [ "$(id -u)" = 0 ]; then
		mkdir -p "$PGDATA" && chown postgres "$PGDATA" || return
		as=$(command -v gosu || command -v su-exec) && as="$as postgres" || as="setpriv --reuid=postgres --regid=postgres --init-groups"
	fi
	# shellcheck disable=SC2016,SC2086 # expanded by the inner shell; split on purpose
	$as sh -c 'printf "%s\n" "$POSTGRES_PASSWORD" |
		initdb --username="$POSTGRES_USER" --pwfile=/dev/stdin --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS &&
		echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"'
}

serve() {
	prepare || rm -rf "$PGDATA"
	exec docker-entrypoint.sh "$@"
}

serve "$@" 3<&- &
server=$!
(
	read -r _ <&3
	kill -TERM 1
) &
wait $server
