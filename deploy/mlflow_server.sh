#!/usr/bin/env bash
# MLflow for a team: PostgreSQL behind it, passwords on, on this machine's loopback only (put a TLS proxy in front).
#
#   RAZOR_MLFLOW_DATABASE   e.g. postgresql+psycopg://mlflow@127.0.0.1/mlflow (the password comes from PGPASSWORD)
#   RAZOR_MLFLOW_ARTIFACTS  a folder or s3://bucket/path (AWS credentials and MLFLOW_S3_ENDPOINT_URL as usual)
#   RAZOR_MLFLOW_ADMIN      file with the administrator's first password, at least 12 characters
#   MLFLOW_SERVER_ALLOWED_HOSTS  names under which a proxy calls it, e.g. mlflow.example.org; others than localhost are refused
#   RAZOR_MLFLOW_PORT       5000 where none is given
#   RAZOR_MLFLOW_AUTH_DATABASE  address of the database of users; sqlite in ./mlflow_users.db where none is given
set -euo pipefail

: "${RAZOR_MLFLOW_DATABASE:?set RAZOR_MLFLOW_DATABASE to the address of the database}"
: "${RAZOR_MLFLOW_ARTIFACTS:?set RAZOR_MLFLOW_ARTIFACTS to a folder or an s3:// address}"
: "${RAZOR_MLFLOW_ADMIN:?set RAZOR_MLFLOW_ADMIN to a file that holds the first password}"

password=$(tr -d '\n' <"$RAZOR_MLFLOW_ADMIN")
if [ "${#password}" -lt 12 ]; then
    echo "the password in $RAZOR_MLFLOW_ADMIN has ${#password} characters; at least 12 are needed" >&2
    exit 1
fi

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
umask 077
users=${RAZOR_MLFLOW_AUTH_DATABASE:-sqlite:///$PWD/mlflow_users.db}
# In this file %% stands for a %.
cat >"$state/auth.ini" <<INI
[mlflow]
default_permission = READ
database_uri = ${users//%/%%}
admin_username = admin
admin_password = ${password//%/%%}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
INI

export MLFLOW_AUTH_CONFIG_PATH="$state/auth.ini"
export MLFLOW_FLASK_SERVER_SECRET_KEY="${MLFLOW_FLASK_SERVER_SECRET_KEY:-$(python -c 'import secrets; print(secrets.token_hex(32))')}"
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
export MLFLOW_DISABLE_TELEMETRY=true

# Once, before any worker starts: several that migrate a new database at the same time all fail.
mlflow db upgrade "$RAZOR_MLFLOW_DATABASE"
mlflow server --app-name basic-auth --host 127.0.0.1 --port "${RAZOR_MLFLOW_PORT:-5000}" --workers 2 \
    --backend-store-uri "$RAZOR_MLFLOW_DATABASE" --artifacts-destination "$RAZOR_MLFLOW_ARTIFACTS" &
server=$!
# Who ends this script ends the server. A signal ends a wait too: wait until the server is gone.
trap 'kill -TERM "$server" 2>/dev/null || true' TERM INT
status=0
wait "$server" || status=$?
while kill -0 "$server" 2>/dev/null; do
    status=0
    wait "$server" || status=$?
done
exit "$status"
