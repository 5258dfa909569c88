#!/bin/sh
# Rebuilds src/lab/pki: throw-away certificates for the lab's loopback Envoys. They secure nothing.
#   scripts/lab_certificates.sh src/lab/pki
# The CA bundle holds 150 distinct roots of the sizes a distribution's bundle has (RSA 2048, RSA 4096, EC P-384);
# the roots of a size share a key, which changes neither their length nor what a parser allocates for them.
set -eu
out=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
openssl genrsa -out "$out/rsa.key" 2048 2>/dev/null
openssl req -x509 -new -key "$out/rsa.key" -days 36500 -subj "/O=meshdump lab/CN=rsa.lab.example" \
  -addext "subjectAltName=DNS:rsa.lab.example" -out "$out/rsa.pem"
openssl ecparam -name prime256v1 -genkey -noout -out "$out/ecdsa.key"
openssl req -x509 -new -key "$out/ecdsa.key" -days 36500 -subj "/O=meshdump lab/CN=ecdsa.lab.example" \
  -addext "subjectAltName=DNS:ecdsa.lab.example" -out "$out/ecdsa.pem"
openssl genrsa -out "$tmp/0.key" 2048 2>/dev/null
openssl genrsa -out "$tmp/1.key" 4096 2>/dev/null
openssl ecparam -name secp384r1 -genkey -noout -out "$tmp/2.key"
: > "$tmp/bundle.pem"
i=0
while [ $i -lt 150 ]; do
  openssl req -x509 -new -key "$tmp/$((i % 3)).key" -days 36500 \
    -subj "/C=XX/O=Meshdump Lab Trust Services/OU=Roots/CN=Lab Root Certification Authority $i" >> "$tmp/bundle.pem"
  i=$((i + 1))
done
gzip -9nc "$tmp/bundle.pem" > "$out/roots.pem.gz"
