import { containerPath, volumeName } from "./engine-readers.ts";
import { engineAddress } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { text } from "./readers.ts";

/** The engine, and where functions find things in it. */
export const ENGINE_OPTIONS = {
  dockerHost: {
    flag: "docker-host",
    variable: "DOCKER_HOST",
    value: "URL",
    help: "Address of the engine: unix:///path or tcp://host:port.",
    read: engineAddress,
    default: "unix:///var/run/docker.sock",
  },
  dockerTlsVerify: {
    flag: "docker-tls-verify",
    variable: "DOCKER_TLS_VERIFY",
    value: "1",
    help: "Any value: TLS for a tcp:// engine, whose certificate is checked, with the files in --docker-cert-path.",
    read: text,
    default: null,
    defaultHelp: "none; no TLS",
  },
  dockerCertPath: {
    flag: "docker-cert-path",
    variable: "DOCKER_CERT_PATH",
    value: "DIRECTORY",
    help: "Directory with ca.pem, cert.pem and key.pem for --docker-tls-verify.",
    read: text,
    default: null,
    defaultHelp: "~/.docker",
  },
  contextName: {
    flag: "context-name",
    variable: "CONTEXT_NAME",
    value: "VOLUME",
    help: "The engine's volume that brings the gate into containers; created if missing.",
    read: volumeName,
    default: "serverless_context",
  },
  contextPath: {
    flag: "context-path",
    variable: "CONTEXT_PATH",
    value: "PATH",
    help: "Directory in a function's container that holds its context, in a subdirectory named after the invocation.",
    read: containerPath,
    default: "/tmp/context",
  },
  osEnv: {
    flag: "os-env",
    variable: "OS_ENV",
    value: "NAME",
    help: "docker: the server runs in a container; changes the defaults of --host and --data-path.",
    read: text,
    default: null,
  },
} as const satisfies OptionTable;
