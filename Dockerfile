# An image of the binary that `deploy/package` leaves in target/package:
#   deploy/package && docker build --tag touchstone:0.1.0 .
# `buildah bud --tag touchstone:0.1.0 .` does the same.
# The binary is made on the release of Debian that is named here, so that the C library fits.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY target/package/touchstone /usr/bin/touchstone
USER nobody
ENTRYPOINT ["touchstone"]
