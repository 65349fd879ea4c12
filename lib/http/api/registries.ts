import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { DockerConfig } from "../../domain/images/docker-config.ts";
import { PutRegistry, Registry, RegistryImport } from "../../domain/images/registries.ts";
import type { RegistryService } from "../../services/images/registries.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { flag } from "../wire/flag.ts";
import { type Guard, resource } from "../access/guard.ts";

const params = t.Object({
  host: t.String({
    description: "The host of the registry, with its port; `docker.io` and its other names are Docker Hub.",
    examples: ["registry.example.com:5000"],
  }),
});
const query = t.Object(
  {
    check: flag(
      "`false` stores the credentials without asking the registry: the engine, or the registry, may be away.",
    ),
  },
  { additionalProperties: false },
);

/** `/v1/registries`: credentials for the images of private registries. */
export function registriesRoutes(guard: Guard, registries: RegistryService) {
  return resource(guard, "registries")
    .get("/", () => success(registries.list()), {
      needs: "read",
      response: { 200: Envelope(Type.Array(Registry), "The registries by host, without passwords."), ...errors() },
      detail: { operationId: "listRegistries", summary: "List the registries with credentials" },
    })
    .post(
      "/import",
      async ({ body, query: { check } }) => success(await registries.import(body, { check: check !== "false" })),
      {
        needs: "write",
        query,
        body: DockerConfig,
        response: {
          200: Envelope(RegistryImport, "What was stored, and what was left out."),
          ...errors(400, 408, 409, 413, 503, 507),
        },
        detail: {
          operationId: "importRegistries",
          summary: "Take over the credentials of a Docker config.json",
          description:
            "Each is checked with its registry; what is refused, or is kept by a helper outside the file, is left out and named.",
        },
      },
    )
    .get("/:host", ({ params: { host } }) => success(registries.get(host)), {
      needs: "read",
      params,
      response: { 200: Envelope(Registry, "The registry, without its password."), ...errors(400, 404) },
      detail: { operationId: "getRegistry", summary: "Show the credentials of a registry" },
    })
    .put(
      "/:host",
      async ({ params: { host }, query: { check }, body, set }) => {
        const { registry, created } = await registries.put(host, body, { check: check !== "false" });
        set.status = created ? 201 : 200;
        return success(registry);
      },
      {
        needs: "write",
        params,
        query,
        body: PutRegistry,
        response: {
          200: Envelope(Registry, "The registry, which has other credentials now."),
          201: Envelope(Registry, "The registry, which had none."),
          ...errors(400, 408, 409, 413, 502, 503, 507),
        },
        detail: {
          operationId: "putRegistry",
          summary: "Give the credentials of a registry",
          description:
            "`username` and `password`, or `identity_token`. The engine checks them with the registry; they are kept encrypted, and used by the next pull.",
        },
      },
    )
    .delete("/:host", async ({ params: { host } }) => success(await registries.delete(host)), {
      needs: "write",
      params,
      response: { 200: Envelope(Registry, "The registry as it was."), ...errors(400, 404, 507) },
      detail: {
        operationId: "deleteRegistry",
        summary: "Delete the credentials of a registry",
        description: "Images that were pulled with them stay where they are.",
      },
    });
}
