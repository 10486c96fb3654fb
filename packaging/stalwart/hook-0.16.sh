#!/bin/sh
# Attaches rua-milter to Stalwart 0.16 by its MTA hook. STALWART_URL, STALWART_USER and
# STALWART_PASSWORD say where stalwart-cli finds the server. rua-milter's side:
#
#     [hook]
#     listen = "127.0.0.1:8892"
#     bearer_file = "hook-bearer"     # holds what is in the file below
set -eu

# While rua-milter is away mail is asked to come again; nothing passes unseen.
stalwart-cli create MtaHook \
    --field url=http://127.0.0.1:8892/ \
    --field 'stages={"data":true}' \
    --field 'httpAuth={"@type":"Bearer","bearerToken":{"@type":"File","filePath":"/etc/stalwart/rua-milter-token"}}' \
    --field timeout=30s \
    --field tempFailOnError=true
stalwart-cli create action/ReloadSettings
