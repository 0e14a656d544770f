# SPDX-License-Identifier: Apache-2.0
# Runs the broker given as arguments for as long as standard input is open, so
# that it cannot outlive the test process, whatever ends that. A line on
# standard input stops the broker in good order; its end kills it. The folder
# in KAFKATEST_REMOVE, if set, is removed afterwards.
exec 3<&0
"$@" </dev/null 3<&- &
broker=$!
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
echo "kafkatest: broker ended with status $?"
kill "$watch" 2>/dev/null
wait
[ -z "${KAFKATEST_REMOVE:-}" ] || rm -rf "$KAFKATEST_REMOVE"
