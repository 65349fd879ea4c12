/** The words of each page that has nothing to show, and what to do then. */
export const EMPTY = [
  ["", "No calls yet", "slipway deploy"],
  ["/functions", "No functions yet", "slipway deploy"],
  ["/invocations", "No invocations", "Call a function"],
  ["/dead-letters", "No dead letters", "Every asynchronous call has succeeded"],
  ["/routes", "No routes yet", "POST /v1/routes"],
  ["/schedules", "No schedules yet", "POST /v1/schedules"],
  ["/secrets", "No secrets yet", "slipway secrets set NAME"],
  ["/registries", "No registries with credentials", "PUT /v1/registries/HOST"],
  ["/keys", "No keys besides the server's own", "slipway keys create NAME"],
  ["/system", "Not known now", "asked again when it is back"],
] as const;
