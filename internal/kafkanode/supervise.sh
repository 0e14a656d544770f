# SPDX-License-Identifier: Apache-2.0
# Runs the broker given as arguments for as long as standard input is open, so
# that it cannot outlive the process that started it, whatever ends that. A line on
# standard input stops the broker in good order; its end kills it. The folder
# in KAFKANODE_REMOVE, if set, is removed afterwards.
exec 3<&0
"$@" </dev/null 3<&- &
broker=$!
echo "kafkanode: broker is process $broker"
{
  if read -r _ <&3; then
    kill "$broker"
    read -r _ <&3
  fi
  kill -9 "$broker"
} 2>/dev/null &
watch=$!
exec 3<&-
wait "$broker"
echo "kafkanode: broker ended with status $?"
kill "$watch" 2>/dev/null
wait
[ -z "${KAFKANODE_REMOVE:-}" ] || rm -rf "$KAFKANODE_REMOVE"
