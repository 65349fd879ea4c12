# The server in an image of its own: nothing but the binary and the five libraries that it asks for.
ARG BUN_IMAGE=oven/bun:1
FROM ${BUN_IMAGE} AS build
WORKDIR /src

# The gate is C, for both architectures: the engine may have another one than this image.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev \
      $([ "$(uname -m)" = aarch64 ] \
        && echo gcc-x86-64-linux-gnu libc6-dev-amd64-cross \
        || echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross) \
 && rm -rf /var/lib/apt/lists/*

COPY package.json bun.lock ./
RUN bun install --frozen-lockfile --production

COPY . .
RUN case "$(uname -m)" in aarch64) arch=arm64 ;; *) arch=x64 ;; esac \
 && bun .ci/build.ts --installed $arch \
 && install -D dist/slipway-linux-$arch /rootfs/usr/local/bin/slipway \
 && for library in $(ldd /rootfs/usr/local/bin/slipway | grep -o '/[^ ]*'); do \
      install -D "$library" "/rootfs$library"; \
    done \
 # Any user may be chosen with `docker run --user`, as long as it is in the socket's group.
 && install -d -m 0777 /rootfs/data && install -d -m 1777 /rootfs/tmp

FROM scratch
COPY --from=build /rootfs /
ENV OS_ENV=docker \
    DATA_PATH=/data \
    CONTEXT_NAME=serverless_context \
    CONTEXT_PATH=/tmp/context \
    HOST=0.0.0.0 \
    PORT=9999 \
    PATH=/usr/local/bin
VOLUME /data
EXPOSE 9999
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/slipway", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/slipway"]
