#!/bin/sh
# Attaches rua-milter to Stalwart 0.16 as a milter. STALWART_URL, STALWART_USER and STALWART_PASSWORD
# say where stalwart-cli finds the server. rua-milter's side:
#
#     [[listen]]
#     address = "inet:127.0.0.1:8891"
#     peer = "stalwart"
#     # rcpt_stage = true, with stages={"rcpt":true,"data":true} below
set -eu

# While rua-milter is away mail is asked to come again; nothing passes unseen.
stalwart-cli create MtaMilter \
    --field hostname=127.0.0.1 \
    --field port=8891 \
    --field useTls=false \
    --field 'stages={"data":true}' \
    --field tempFailOnError=true
stalwart-cli create action/ReloadSettings
