/** The advice in the server's messages, which speak of the API, and the commands that do the same. */
const ADVICE: readonly (readonly [ofApi: RegExp, command: string])[] = [
  [/GET \/v1\/functions\/([^/\s]+)\/versions lists/g, '"slipway versions $1" lists'],
  [/GET \/v1\/functions lists/g, '"slipway ls" lists'],
  [/GET \/v1\/(invocations|keys|registries|routes|schedules|secrets) lists/g, '"slipway $1" lists'],
  [/PUT \/v1\/registries\/([^\s,]*[^\s,.:])(?: with "username" and "password"| anew)?/g, '"slipway registries set $1"'],
  [/PUT \/v1\/secrets\/([^\s,]*[^\s,.:])/g, '"slipway secrets set $1"'],
  [/POST \/v1\/keys\b/g, '"slipway keys create"'],
  [/POST \/v1\/routes\b/g, '"slipway routes create"'],
  [/POST \/v1\/invocations\/([^/\s]+)\/replay/g, '"slipway dead replay $1"'],
  [/GET \/v1\/invocations\/([^/\s?]+)\?wait=30s/g, '"slipway logs -f $1"'],
  [/\?cascade=true/g, "--cascade"],
];

/** Returns a message of the server for the command line: what it advises to send to the API becomes a command. */
export function inCommands(message: string): string {
  return ADVICE.reduce((text, [ofApi, command]) => text.replaceAll(ofApi, command), message);
}
