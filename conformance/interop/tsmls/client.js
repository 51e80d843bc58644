// The working group's interop service on ts-mls. One method per call.
import {
  ciphersuites,
  createApplicationMessage,
  createCommit,
  createGroup,
  createGroupInfoWithExternalPub,
  createGroupInfoWithExternalPubAndRatchetTree,
  createProposal,
  decodeExternalSender,
  encodeExternalSender,
  joinGroup,
  joinGroupExternal,
  mlsExporter,
  processPrivateMessage,
  proposeAddExternal,
  proposeExternal,
  reinitCreateNewGroup,
  branchGroup,
} from "ts-mls"
import { Unsupported, bytes, encodeTree, message, parse, parsePackage, parseTree, suite, suiteNamed } from "./convert.js"
import { Member, Psks, clientConfig, describe, newKeyPackage, signatureKeys } from "./member.js"

export { Unsupported }

const nothing = new Uint8Array()

export class Client {
  constructor(name) {
    this.name = name
    this.handles = new Map()
    this.last = 0
  }

  put(thing) {
    this.handles.set(++this.last, thing)
    return this.last
  }

  find(id, what) {
    const thing = this.handles.get(id)
    if (thing?.[what] === undefined) throw new Error(`nothing with a ${what} has the handle ${id}`)
    return thing
  }

  member(id) {
    return this.find(id, "state")
  }

  Name() {
    return { name: this.name }
  }

  // SupportedCiphersuites leaves out numbers of ts-mls's own making: RFC 9420
  // assigns 1 to 7.
  SupportedCiphersuites() {
    return { ciphersuites: Object.values(ciphersuites).filter((id) => id <= 7) }
  }

  Free({ state_id }) {
    if (!this.handles.delete(state_id)) throw new Error(`nothing has the handle ${state_id}`)
    return {}
  }

  async CreateGroup(r) {
    const cs = await suite(r.cipher_suite)
    const kp = await newKeyPackage(cs, r.identity)
    const state = await createGroup(bytes(r.group_id), kp.publicPackage, kp.privatePackage, [], cs, clientConfig)
    return { state_id: this.put(new Member(state, cs, r.encrypt_handshake, new Psks())) }
  }

  async CreateKeyPackage(r) {
    const cs = await suite(r.cipher_suite)
    const kp = await newKeyPackage(cs, r.identity)
    return {
      transaction_id: this.put({ keyPackage: kp, cs, psks: new Psks() }),
      key_package: message("mls_key_package", { keyPackage: kp.publicPackage }),
      ...privateKeys(kp),
    }
  }

  async JoinGroup(r) {
    const t = this.find(r.transaction_id, "keyPackage")
    const state = await join(t, r, t.psks.index(undefined))
    this.handles.delete(r.transaction_id)
    return this.joined(new Member(state, t.cs, r.encrypt_handshake, t.psks))
  }

  joined(m) {
    return { state_id: this.put(m), epoch_authenticator: m.authenticator() }
  }

  async ExternalJoin(r) {
    if (r.psks.length > 0) throw new Unsupported("joinGroupExternal takes no PSKs")
    const { groupInfo } = parse(r.group_info, "mls_group_info")
    const cs = await suiteNamed(groupInfo.groupContext.cipherSuite)
    const kp = await newKeyPackage(cs, r.identity)
    const joined = await joinGroupExternal(
      groupInfo, kp.publicPackage, kp.privatePackage, r.remove_prior, cs, parseTree(r.ratchet_tree), clientConfig,
    )
    const m = new Member(joined.newState, cs, r.encrypt_handshake, new Psks())
    return { ...this.joined(m), commit: message("mls_public_message", { publicMessage: joined.publicMessage }) }
  }

  async GroupInfo(r) {
    const { state, cs } = this.member(r.state_id)
    const make = r.external_tree ? createGroupInfoWithExternalPub : createGroupInfoWithExternalPubAndRatchetTree
    const groupInfo = await make(state, [], cs)
    return {
      group_info: message("mls_group_info", { groupInfo }),
      ratchet_tree: r.external_tree ? encodeTree(state.ratchetTree) : nothing,
    }
  }

  StateAuth(r) {
    return { state_auth_secret: this.member(r.state_id).authenticator() }
  }

  async Export(r) {
    const { state, cs } = this.member(r.state_id)
    return { exported_secret: await mlsExporter(state.keySchedule.exporterSecret, r.label, bytes(r.context), r.key_length, cs) }
  }

  async Protect(r) {
    const m = this.member(r.state_id)
    const made = await createApplicationMessage(m.state, bytes(r.plaintext), m.cs, bytes(r.authenticated_data))
    m.state = made.newState
    return { ciphertext: message("mls_private_message", { privateMessage: made.privateMessage }) }
  }

  async Unprotect(r) {
    const m = this.member(r.state_id)
    const { privateMessage } = parse(r.ciphertext, "mls_private_message")
    const read = await processPrivateMessage(m.state, privateMessage, m.psks.index(m.state), m.cs)
    if (read.kind !== "applicationMessage") throw new Error("not an application message")
    m.state = read.newState
    return { authenticated_data: privateMessage.authenticatedData, plaintext: read.message }
  }

  StorePSK(r) {
    this.find(r.state_or_transaction_id, "psks").psks.put(r.psk_id, r.psk_secret)
    return {}
  }

  async propose(id, description) {
    const m = this.member(id)
    return { proposal: await m.propose(await describe(m, description)) }
  }

  AddProposal(r) {
    return this.propose(r.state_id, { proposal_type: "add", key_package: r.key_package })
  }

  async UpdateProposal(r) {
    return { proposal: await this.member(r.state_id).proposeUpdate() }
  }

  RemoveProposal(r) {
    return this.propose(r.state_id, { proposal_type: "remove", removed_id: r.removed_id })
  }

  ExternalPSKProposal(r) {
    return this.propose(r.state_id, { proposal_type: "externalPSK", psk_id: r.psk_id })
  }

  ResumptionPSKProposal(r) {
    return this.propose(r.state_id, { proposal_type: "resumptionPSK", epoch_id: r.epoch_id })
  }

  GroupContextExtensionsProposal(r) {
    return this.propose(r.state_id, { proposal_type: "groupContextExtensions", extensions: r.extensions })
  }

  ReInitProposal(r) {
    return this.propose(r.state_id, { ...r, proposal_type: "reinit" })
  }

  // Commit ignores force_path: createCommit decides by the proposals alone.
  async Commit(r) {
    const m = this.member(r.state_id)
    const references = await m.references(r.by_reference)
    const extraProposals = []
    for (const d of r.by_value) extraProposals.push(await describe(m, d))
    const made = await createCommit(
      { state: { ...m.state, unappliedProposals: references }, cipherSuite: m.cs, pskIndex: m.psks.index(m.state) },
      { wireAsPublicMessage: !m.encrypt, extraProposals, ratchetTreeExtension: !r.external_tree },
    )
    m.pending = made.newState
    return {
      commit: message(made.commit.wireformat, made.commit),
      welcome: made.welcome === undefined ? nothing : message("mls_welcome", { welcome: made.welcome }),
      ratchet_tree: r.external_tree ? encodeTree(made.newState.ratchetTree) : nothing,
    }
  }

  async HandleCommit(r) {
    const m = this.member(r.state_id)
    await m.follow(r.proposal, r.commit)
    return { state_id: r.state_id, epoch_authenticator: m.authenticator() }
  }

  HandlePendingCommit(r) {
    const m = this.member(r.state_id)
    m.merge()
    return { state_id: r.state_id, epoch_authenticator: m.authenticator() }
  }

  ReInitCommit(r) {
    return this.Commit(r)
  }

  async HandlePendingReInitCommit(r) {
    const m = this.member(r.state_id)
    m.merge()
    return this.suspended(m)
  }

  async HandleReInitCommit(r) {
    const m = this.member(r.state_id)
    await m.follow(r.proposal, r.commit)
    return this.suspended(m)
  }

  // suspended prepares a member for the group that its ReInit asks for.
  async suspended(m) {
    const active = m.state.groupActiveState
    if (active.kind !== "suspendedPendingReinit") throw new Error("the commit holds no ReInit")
    const cs = await suiteNamed(active.reinit.cipherSuite)
    const kp = await newKeyPackage(cs, m.identity())
    return {
      reinit_id: this.put({ keyPackage: kp, cs, psks: m.psks, old: m, reinit: active.reinit }),
      key_package: message("mls_key_package", { keyPackage: kp.publicPackage }),
      epoch_authenticator: m.authenticator(),
    }
  }

  // ReInitWelcome and CreateBranch hand the tree out apart: ts-mls's calls for them
  // never put it into the Welcome, nor do they make a path.
  async ReInitWelcome(r) {
    const t = this.find(r.reinit_id, "reinit")
    const { groupId, cipherSuite, extensions: exts } = t.reinit
    const { publicPackage, privatePackage } = t.keyPackage
    const made = await reinitCreateNewGroup(
      t.old.state, publicPackage, privatePackage, r.key_package.map(parsePackage), groupId, cipherSuite, exts,
    )
    return this.subgroup(made, t)
  }

  subgroup(made, { cs, psks, old }) {
    const m = new Member({ ...made.newState, clientConfig }, cs, old.encrypt, psks)
    return {
      ...this.joined(m),
      welcome: message("mls_welcome", { welcome: made.welcome }),
      ratchet_tree: encodeTree(made.newState.ratchetTree),
    }
  }

  async HandleReInitWelcome(r) {
    const t = this.find(r.reinit_id, "reinit")
    const state = await join(t, r, t.psks.index(t.old.state), t.old.state)
    this.handles.delete(r.reinit_id)
    return this.joined(new Member(state, t.cs, t.old.encrypt, t.psks))
  }

  async CreateBranch(r) {
    const m = this.member(r.state_id)
    const inherited = m.state.groupContext.extensions
    if (r.extensions.length > 0 || inherited.length > 0)
      throw new Unsupported("branchGroup gives a branch the extensions of its parent and no others")
    const kp = await newKeyPackage(m.cs, m.identity())
    const made = await branchGroup(
      m.state, kp.publicPackage, kp.privatePackage, r.key_packages.map(parsePackage), bytes(r.group_id), m.cs,
    )
    return this.subgroup(made, { cs: m.cs, psks: m.psks, old: m })
  }

  async HandleBranch(r) {
    const parent = this.member(r.state_id)
    const t = this.find(r.transaction_id, "keyPackage")
    const state = await join(t, r, t.psks.index(parent.state), parent.state)
    this.handles.delete(r.transaction_id)
    return this.joined(new Member(state, t.cs, parent.encrypt, t.psks))
  }

  async NewMemberAddProposal(r) {
    const { groupInfo } = parse(r.group_info, "mls_group_info")
    const cs = await suiteNamed(groupInfo.groupContext.cipherSuite)
    const kp = await newKeyPackage(cs, r.identity)
    const proposal = await proposeAddExternal(groupInfo, kp.publicPackage, kp.privatePackage, cs)
    return {
      transaction_id: this.put({ keyPackage: kp, cs, psks: new Psks() }),
      proposal: message(proposal.wireformat, proposal),
      ...privateKeys(kp),
    }
  }

  async CreateExternalSigner(r) {
    const cs = await suite(r.cipher_suite)
    const { publicKey, signKey } = await signatureKeys(cs)
    const credential = { credentialType: "basic", identity: bytes(r.identity) }
    return {
      signer_id: this.put({ signer: { publicKey, signKey, cs } }),
      external_sender: encodeExternalSender({ signaturePublicKey: publicKey, credential }),
    }
  }

  // AddExternalSigner writes the extension as ts-mls's documentation has it.
  async AddExternalSigner(r) {
    const m = this.member(r.state_id)
    const sender = decodeExternalSender(bytes(r.external_sender), 0)
    if (sender === undefined) throw new Error("malformed external sender")
    const before = m.state.groupContext.extensions
    if (before.some((e) => e.extensionType === "external_senders"))
      throw new Unsupported("ts-mls's external_senders extension holds a single sender")
    const exts = [...before, { extensionType: "external_senders", extensionData: encodeExternalSender(sender[0]) }]
    return {
      proposal: await m.propose({ proposalType: "group_context_extensions", groupContextExtensions: { extensions: exts } }),
    }
  }

  async ExternalSignerProposal(r) {
    const { signer } = this.find(r.signer_id, "signer")
    const { groupInfo } = parse(r.group_info, "mls_group_info")
    const tree = parseTree(r.ratchet_tree) ?? treeOf(groupInfo)
    const proposal = await describe({ state: { groupContext: groupInfo.groupContext, ratchetTree: tree }, cs: signer.cs }, r.description)
    const made = await proposeExternal(groupInfo, proposal, signer.publicKey, signer.signKey, signer.cs)
    return { proposal: message(made.wireformat, made) }
  }
}

function treeOf(groupInfo) {
  const found = groupInfo.extensions.find((e) => e.extensionType === "ratchet_tree")
  return found === undefined ? [] : parseTree(found.extensionData)
}

function privateKeys(kp) {
  const { initPrivateKey, hpkePrivateKey, signaturePrivateKey } = kp.privatePackage
  return { init_priv: initPrivateKey, encryption_priv: hpkePrivateKey, signature_priv: signaturePrivateKey }
}

function join(t, r, pskIndex, predecessor) {
  const { welcome } = parse(r.welcome, "mls_welcome")
  const { publicPackage, privatePackage } = t.keyPackage
  return joinGroup(welcome, publicPackage, privatePackage, pskIndex, t.cs, parseTree(r.ratchet_tree), predecessor, clientConfig)
}
