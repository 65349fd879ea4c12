import type * as http from "node:http";
import type * as net from "node:net";
import type * as tty from "node:tty";

declare global {
  namespace NodeJS {
    interface Process {
      /** A module of the runtime, loaded when it is asked for: these three take 2 to 4 ms each, which a start need not wait for. */
      getBuiltinModule(name: "node:http"): typeof http;
      getBuiltinModule(name: "node:net"): typeof net;
      getBuiltinModule(name: "node:tty"): typeof tty;
    }
  }
}
