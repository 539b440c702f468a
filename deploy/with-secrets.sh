#!/bin/sh
# Run a command with each file of /run/secrets, or of $SECRETS, as the variable that it is called by; empty ones are none.
set -eu
for file in "${SECRETS:-/run/secrets}"/*; do
  name=$(basename "$file")
  if [ -s "$file" ]; then export "$name=$(cat "$file")"; fi
done
exec "$@"
