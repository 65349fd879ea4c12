import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { DockerConfig } from "../../domain/images/docker-config.ts";
import { PutRegistry, Registry, RegistryImport } from "../../domain/images/registries.ts";
import type { RegistryService } from "../../services/images/registries.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { flag } from "../wire/parameters.ts";
import { type Guard, resource } from "../access/guard.ts";

const params = t.Object({
  host: t.String({
    description: "The host of the registry, with its port. `docker.io` and its other names mean Docker Hub.",
    examples: ["registry.example.com:5000"],
  }),
});
const query = t.Object(
  {
    check: flag(
      "`false` stores the credentials without checking them, for when the engine or the registry is not available.",
    ),
  },
  { additionalProperties: false },
);

/** `/v1/registries`: credentials for the images of private registries. */
export function registriesRoutes(guard: Guard, registries: RegistryService) {
  return resource(guard, "registries")
    .get("/", () => success(registries.list()), {
      needs: "read",
      long: true,
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
          200: Envelope(RegistryImport, "What was stored and what was left out."),
          ...errors(400, 408, 409, 413, 415, 503, 507),
        },
        detail: {
          operationId: "importRegistries",
          summary: "Import the credentials of a Docker config.json",
          description:
            "Each one is checked with its registry. Those that are refused, or kept by a helper outside the file, are left out and listed.",
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
          200: Envelope(Registry, "The registry, whose credentials were replaced."),
          201: Envelope(Registry, "The registry, which had no credentials before."),
          ...errors(400, 408, 409, 413, 415, 502, 503, 507),
        },
        detail: {
          operationId: "putRegistry",
          summary: "Set the credentials of a registry",
          description:
            "`username` and `password`, or `identity_token`. The engine checks them with the registry. They are stored encrypted and used by the next pull.",
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
        description: "Images that were pulled with them stay on the engine.",
      },
    });
}
