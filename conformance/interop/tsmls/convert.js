// Between the types of the gRPC service and those of ts-mls.
import {
  decodeMlsMessage,
  encodeMlsMessage,
  defaultExtensionTypes,
  ciphersuites,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
} from "ts-mls"
import { decodeKeyPackage } from "ts-mls/keyPackage.js"
import { decodeRatchetTree, encodeRatchetTree } from "ts-mls/ratchetTree.js"

// Unsupported is what ts-mls has no call for.
export class Unsupported extends Error {}

// bytes is a copy that ts-mls may keep: gRPC hands out parts of a larger buffer.
export const bytes = (b) => new Uint8Array(b)
export const base64 = (b) => Buffer.from(b).toString("base64")
export const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0

const impls = new Map()

// suite loads a cipher suite by its number.
export async function suite(id) {
  const name = Object.keys(ciphersuites).find((n) => ciphersuites[n] === id)
  if (name === undefined) throw new Unsupported(`cipher suite ${id}`)
  return suiteNamed(name)
}

export function suiteNamed(name) {
  if (!impls.has(name)) impls.set(name, getCiphersuiteImpl(getCiphersuiteFromName(name)))
  return impls.get(name)
}

export function suiteName(id) {
  const name = Object.keys(ciphersuites).find((n) => ciphersuites[n] === id)
  if (name === undefined) throw new Unsupported(`cipher suite ${id}`)
  return name
}

// parse decodes an MLSMessage of one of the formats given.
export function parse(data, ...formats) {
  const decoded = decodeMlsMessage(bytes(data), 0)
  if (decoded === undefined || decoded[1] !== data.length) throw new Error("malformed MLSMessage")
  if (!formats.includes(decoded[0].wireformat)) throw new Error(`unexpected ${decoded[0].wireformat}`)
  return decoded[0]
}

export function message(wireformat, body) {
  return encodeMlsMessage({ version: "mls10", wireformat, ...body })
}

// parsePackage decodes a key package: a message, or bare.
export function parsePackage(data) {
  try {
    return parse(data, "mls_key_package").keyPackage
  } catch (err) {
    const bare = decodeKeyPackage(bytes(data), 0)
    if (bare === undefined || bare[1] !== data.length) throw err
    return bare[0]
  }
}

export function parseTree(data) {
  if (data.length === 0) return undefined
  const decoded = decodeRatchetTree(bytes(data), 0)
  if (decoded === undefined) throw new Error("malformed ratchet tree")
  return decoded[0]
}

export const encodeTree = (tree) => encodeRatchetTree(tree)

const extensionNames = new Map(Object.entries(defaultExtensionTypes).map(([name, id]) => [id, name]))

export const extensions = (list) =>
  list.map((e) => ({
    extensionType: extensionNames.get(e.extension_type) ?? e.extension_type,
    extensionData: bytes(e.extension_data),
  }))
