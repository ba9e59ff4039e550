#!/bin/sh
# Postgres for the farm: made at the first start, reachable with the password of POSTGRES_PASSWORD only.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "${POSTGRES_PASSWORD:?set it in .env}" >/tmp/password
  initdb --username=farm --encoding=UTF8 --locale=C.UTF-8 --pwfile=/tmp/password --auth=scram-sha-256 >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  postgres --single -D "$PGDATA" postgres >/dev/null <<'SQL'
CREATE DATABASE farm OWNER farm
SQL
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
