// Serves ts-mls to an interop runner. The address is printed once the port is
// open; SIGTERM ends it.
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import grpc from "@grpc/grpc-js"
import protoLoader from "@grpc/proto-loader"
import { Client, Unsupported } from "./client.js"

const proto = fileURLToPath(new URL("../internal/mlsclient/mls_client.proto", import.meta.url))
const definition = protoLoader.loadSync(proto, { keepCase: true, longs: String, defaults: true })
const { MLSClient } = grpc.loadPackageDefinition(definition).mls_client

function version() {
  const main = createRequire(import.meta.url).resolve("ts-mls")
  const root = main.slice(0, main.lastIndexOf("/dist/"))
  return JSON.parse(readFileSync(root + "/package.json", "utf8")).version
}

// unary turns a method that takes a request and returns a response into a handler.
function unary(client, name) {
  return async (call, done) => {
    try {
      if (typeof client[name] !== "function") throw new Unsupported(`${name} is not implemented`)
      done(null, await client[name](call.request))
    } catch (err) {
      const code = err instanceof Unsupported ? grpc.status.UNIMPLEMENTED : grpc.status.FAILED_PRECONDITION
      done({ code, message: err.message || err.constructor.name })
    }
  }
}

const port = Number(process.argv[2] ?? 0)
const client = new Client(`ts-mls ${version()}`)
const size = 64 << 20
const server = new grpc.Server({ "grpc.max_receive_message_length": size, "grpc.max_send_message_length": size })
server.addService(
  MLSClient.service,
  Object.fromEntries(Object.keys(MLSClient.service).map((name) => [name, unary(client, name)])),
)
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (err, bound) => {
  if (err) throw err
  console.log(`127.0.0.1:${bound}`)
})
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.tryShutdown(() => process.exit(0)))
