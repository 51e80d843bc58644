// A state of a group: what ts-mls keeps, and what its caller has to.
import {
  acceptAll,
  createProposal,
  defaultAuthenticationService,
  defaultCapabilities,
  defaultKeyRetentionConfig,
  defaultLifetimeConfig,
  defaultPaddingConfig,
  generateKeyPackageWithKey,
  makePskIndex,
  processPrivateMessage,
  processPublicMessage,
} from "ts-mls"
import { p256, p384, p521 } from "@noble/curves/nist.js"
import { signLeafNodeCommit } from "ts-mls/leafNode.js"
import { base64, bytes, equal, extensions, message, parse, parsePackage, suiteName } from "./convert.js"

// The type for private use that scenarios give groups as an extension.
const testExtension = 0xf0a1

const sameIdentity = (a, b) => equal(a.credential.identity, b.credential.identity)

// A client is known by its credential: an external joiner that comes back has
// another signature key.
export const clientConfig = {
  authService: defaultAuthenticationService,
  keyRetentionConfig: defaultKeyRetentionConfig,
  lifetimeConfig: defaultLifetimeConfig,
  paddingConfig: defaultPaddingConfig,
  keyPackageEqualityConfig: {
    compareKeyPackages: (a, b) => sameIdentity(a.leafNode, b.leafNode),
    compareKeyPackageToLeafNode: (a, b) => sameIdentity(a.leafNode, b),
  },
}

// signatureKeys makes a signature key pair. ts-mls's own keygen compresses points,
// against RFC 9420, Section 5.1.1, by which ECDSA keys are uncompressed; but it
// takes keys of its caller's.
export async function signatureKeys(cs) {
  const pair = await cs.signature.keygen()
  for (const [name, curve] of [["P256", p256], ["P384", p384], ["P521", p521]])
    if (cs.name.endsWith("_" + name)) return { signKey: pair.signKey, publicKey: curve.getPublicKey(pair.signKey, false) }
  return pair
}

// newKeyPackage makes a key package that is good for a month: the default of
// ts-mls, forever, is nothing that others should accept (RFC 9420, Section 7.2).
export async function newKeyPackage(cs, identity) {
  const now = BigInt(Math.floor(Date.now() / 1000))
  const capabilities = defaultCapabilities()
  capabilities.extensions = [...capabilities.extensions, testExtension]
  const credential = { credentialType: "basic", identity: bytes(identity) }
  const lifetime = { notBefore: now - 3600n, notAfter: now + 30n * 86400n }
  return generateKeyPackageWithKey(credential, capabilities, lifetime, [], await signatureKeys(cs), cs)
}

// Psks are external pre-shared keys.
export class Psks {
  keys = {}

  put(id, secret) {
    this.keys[base64(id)] = bytes(secret)
  }

  index(state) {
    return makePskIndex(state, this.keys)
  }
}

const leafIndexOf = (state, identity) =>
  state.ratchetTree.findIndex((n) => n?.nodeType === "leaf" && equal(n.leaf.credential.identity, identity)) / 2

// describe makes the proposal that a description asks for.
export async function describe({ state, cs }, d) {
  switch (d.proposal_type.toString()) {
    case "add":
      return { proposalType: "add", add: { keyPackage: parsePackage(d.key_package) } }
    case "remove": {
      const removed = leafIndexOf(state, d.removed_id)
      if (removed < 0) throw new Error("no member has that identity")
      return { proposalType: "remove", remove: { removed } }
    }
    case "externalPSK":
      return psk(cs, { psktype: "external", pskId: bytes(d.psk_id) })
    case "resumptionPSK": {
      const pskGroupId = state.groupContext.groupId
      return psk(cs, { psktype: "resumption", usage: "application", pskGroupId, pskEpoch: BigInt(d.epoch_id) })
    }
    case "groupContextExtensions":
      return { proposalType: "group_context_extensions", groupContextExtensions: { extensions: extensions(d.extensions) } }
    case "reinit":
      return {
        proposalType: "reinit",
        reinit: {
          groupId: bytes(d.group_id), version: "mls10",
          cipherSuite: suiteName(d.cipher_suite), extensions: extensions(d.extensions),
        },
      }
  }
  throw new Error(`no proposal has the type ${d.proposal_type}`)
}

function psk(cs, id) {
  return { proposalType: "psk", psk: { preSharedKeyId: { ...id, pskNonce: cs.rng.randomBytes(cs.kdf.size) } } }
}

export class Member {
  // proposals are those of this epoch: their references, by their messages.
  proposals = new Map()
  // updates are own leaf keys that somebody may commit.
  updates = []
  pending = undefined

  constructor(state, cs, encrypt, psks) {
    Object.assign(this, { state, cs, encrypt, psks })
  }

  authenticator() {
    return this.state.keySchedule.epochAuthenticator
  }

  ownLeaf() {
    return this.state.ratchetTree[2 * this.state.privatePath.leafIndex].leaf
  }

  identity() {
    return this.ownLeaf().credential.identity
  }

  // take notes the proposal that a new state has more than this one.
  take(data, newState) {
    const before = this.state.unappliedProposals
    const ref = Object.keys(newState.unappliedProposals).find((k) => !(k in before))
    if (ref === undefined) throw new Error("not a proposal")
    this.proposals.set(base64(data), ref)
    this.state = newState
  }

  async propose(proposal) {
    const made = await createProposal(this.state, !this.encrypt, proposal, this.cs)
    const data = message(made.message.wireformat, made.message)
    this.take(data, made.newState)
    return data
  }

  // proposeUpdate makes an Update; ts-mls leaves leaf node and key to its caller.
  async proposeUpdate() {
    const pair = await this.cs.hpke.generateKeyPair()
    const { leafIndex } = this.state.privatePath
    const leaf = await signLeafNodeCommit(
      {
        ...this.ownLeaf(),
        hpkePublicKey: await this.cs.hpke.exportPublicKey(pair.publicKey),
        leafNodeSource: "update",
        groupId: this.state.groupContext.groupId,
        leafIndex,
      },
      this.state.signaturePrivateKey,
      this.cs.signature,
    )
    const data = await this.propose({ proposalType: "update", update: { leafNode: leaf } })
    this.updates.push({ publicKey: leaf.hpkePublicKey, privateKey: await this.cs.hpke.exportPrivateKey(pair.privateKey) })
    return data
  }

  process(data, state, callback) {
    const m = parse(data, "mls_public_message", "mls_private_message")
    const psks = this.psks.index(state)
    return m.wireformat === "mls_public_message"
      ? processPublicMessage(state, m.publicMessage, psks, this.cs, callback)
      : processPrivateMessage(state, m.privateMessage, psks, this.cs, callback)
  }

  // references processes proposals and returns those that a commit is to refer to.
  async references(list) {
    const chosen = {}
    for (const data of list) {
      if (!this.proposals.has(base64(data))) this.take(data, (await this.process(data, this.state, acceptAll)).newState)
      const ref = this.proposals.get(base64(data))
      chosen[ref] = this.state.unappliedProposals[ref]
    }
    return chosen
  }

  async follow(proposals, commit) {
    await this.references(proposals)
    const done = await this.process(commit, await this.withUpdate(commit), acceptAll)
    if (done.kind === "applicationMessage") throw new Error("not a commit")
    this.enter(done.newState)
    if (this.state.groupActiveState.kind === "removedFromGroup") throw new Error("the commit removes this member")
  }

  // withUpdate puts the key of an own Update in place if the commit takes it up.
  async withUpdate(commit) {
    if (this.updates.length === 0) return this.state
    let taken
    await this.process(commit, this.state, ({ kind, proposals }) => {
      if (kind === "commit") {
        const keys = proposals.map((p) => p.proposal.update?.leafNode.hpkePublicKey).filter((k) => k !== undefined)
        taken = this.updates.find((u) => keys.some((k) => equal(k, u.publicKey)))
      }
      return "reject"
    })
    if (taken === undefined) return this.state
    const { privatePath } = this.state
    const privateKeys = { ...privatePath.privateKeys, [2 * privatePath.leafIndex]: taken.privateKey }
    return { ...this.state, privatePath: { ...privatePath, privateKeys } }
  }

  merge() {
    if (this.pending === undefined) throw new Error("no commit is pending")
    this.enter(this.pending)
  }

  enter(state) {
    this.state = state
    this.pending = undefined
    this.proposals.clear()
    this.updates = []
  }
}
