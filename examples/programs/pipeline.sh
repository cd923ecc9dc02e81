#!/bin/sh
# A pipeline of the usual tools, one part at a time: what is finished stays in the checkpoint directory.
#
#     singlepoint submit run -- sh examples/programs/pipeline.sh
set -eu
done=$SINGLEPOINT_CHECKPOINT_DIR
parts=${PARTS:-40}

part=1
while [ "$part" -le "$parts" ]; do
    if [ ! -e "$done/$part" ]; then
        seq "$part" 7 "$((part * 200))" | grep -v 3 | sort -rn | head -n 50 > "$done/.$part"
        mv "$done/.$part" "$done/$part" # whole or not at all, wherever it is killed
    fi
    echo "{\"step\": $part, \"total\": $parts}" >> "$SINGLEPOINT_PROGRESS_FILE"
    part=$((part + 1))
done
cat "$done"/[0-9]* | sort -n | uniq -c > "$SINGLEPOINT_OUTPUT_DIR/counts.txt"
