#!/bin/sh
# Recreates the certificates of the tests: of an authority, a server, a client, and a self-signed stranger.
set -e
cd "$(dirname "$0")"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1-key.pem"; }
authority() {
    key "$1"
    openssl req -x509 -new -key "$1-key.pem" -days 36500 -subj "/CN=$1" -out "$1.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
signed() {
    key "$1"
    printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$2" > ext
    openssl req -new -key "$1-key.pem" -subj "/CN=$1" |
        openssl x509 -req -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 36500 -extfile ext -out "$1.pem"
    rm -f ext ca.srl
}
authority ca
authority stranger
signed server DNS:localhost,IP:127.0.0.1
signed client DNS:client.example
rm ca-key.pem
