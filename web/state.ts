/** What the page knows, as signals, and the few things that change it. */
import { batch, computed, effect, signal } from "@preact/signals";
import { type BundledScenario, FIRST, scenarioNamed } from "./bundled.ts";
import { makeReports, makeWorker } from "./carried.ts";
import { Client, Overtaken, Refused } from "./client.ts";
import { type AddressBar, KeptAddress } from "./keptAddress.ts";
import type {
  ClusterPicture,
  Kind,
  Loaded,
  ManifestFile,
  NextAsk,
  PacketObject,
  Place,
  Questions,
  SavedNode,
  StrategyWalk,
  WalkAsk,
  WalkTarget,
} from "./messages.ts";
import { sharedReplay, showReplay, sizeOfReplay } from "./replayed.ts";
import { isServed, type ServedFiles, servedFiles } from "./served.ts";
import { decodeState, encodeState } from "./share.ts";
import type { Moment, Origin, SharedState, View } from "./sharedState.ts";

export const client = new Client(makeWorker);
/**
 * Of the same packet under the other strategies, where a cluster is so large that some of them take seconds: what is typed
 * meanwhile must not wait for them, and they may take longer than what somebody waits for.
 */
const aside = new Client(makeWorker, { load: 60_000, walk: 60_000 });
let asideLoaded = -1;
/** From so many pods on a cluster is large: pods are drawn as squares, and the other strategies are walked aside. */
export const MANY = 150;

/** Of compare, timeline and replay; started when the first of them is asked for. */
export const reports = new Client(makeReports);
let reported = -1;
/** May take minutes: one on what was asked before is not waited for. */
const LONG: ReadonlySet<Kind> = new Set(["compare", "timeline", "replay"]);

/** Asks for a report on what is loaded. */
export async function askReport<K extends Kind>(
  kind: K,
  ask: Questions[K]["ask"],
  lane: string = kind,
): Promise<Questions[K]["answer"]> {
  if (LONG.has(kind)) reports.drop(lane);
  if (reported !== generation.peek()) {
    reported = generation.peek();
    await reports.ask("load", { files: files.peek(), scenario: scenario.peek(), saved: saved.peek() });
  }
  return reports.ask(kind, ask, lane);
}

export const files = signal<readonly ManifestFile[]>([]);
export const scenario = signal<ManifestFile | undefined>(undefined);
/** Where they came from, as long as nobody has changed them. */
export const origin = signal<Origin>({ kind: "text", files: [] });
export const shownFile = signal(0);
export const saved = signal<SavedNode | undefined>(undefined);

export const loaded = signal<Loaded | undefined>(undefined);
/** As the manifests last said it without an error: what is drawn while somebody types. */
export const cluster = signal<ClusterPicture | undefined>(undefined);
/** Whether the manifests have errors, so that what stands there is of them as they were. */
export const isBroken = computed(() => loaded.value !== undefined && loaded.value.cluster === undefined);
/** Other manifests are loaded: of them nothing was before. */
let areOthers = false;
export const isBusy = signal(false);
/** Something that did not work, for the person. */
export const trouble = signal<string | undefined>(undefined);
/** For a screen reader: what has just happened. */
export const said = signal("");

export const view = signal<View>("walk");
export const strategy = signal("kube-router");
/** A step of the scenario; undefined: the packets are one's own. */
export const step = signal<number | undefined>(undefined);
/** Asks about a packet: of the worker that knows moments where there is one. */
export function askAbout<K extends "walk" | "next" | "set">(
  kind: K,
  ask: Questions[K]["ask"],
  lane: string = kind,
): Promise<Questions[K]["answer"]> {
  return ask.target.kind === "moment" ? askReport(kind, ask, lane) : client.ask(kind, ask, lane);
}

/** A packet in the middle of a change, in the place of steps and packets. */
export const moment = signal<Moment | undefined>(undefined);
export const packets = signal<readonly PacketObject[]>([]);
export const family = signal<4 | 6 | undefined>(undefined);
export const walk = signal<StrategyWalk | undefined>(undefined);
/** Verdicts of all strategies for the same packet. */
export const others = signal<readonly StrategyWalk[]>([]);
/** The row of the walk that is looked at; undefined: all of it. */
export const position = signal<number | undefined>(undefined);
export const matrixPort = signal<string | undefined>(undefined);
/** Strategies of compare; undefined: all of them. */
export const compared = signal<readonly string[] | undefined>(undefined);
/** Of the timeline; one that is not there stands for the first. */
export const timelineNode = signal("");
/** Most classes of packets in a report; undefined: the page's own measure. */
export const limit = signal<number | undefined>(undefined);

/** The end that was chosen first, while the second is waited for. */
export const armed = signal<string | undefined>(undefined);

export const target = computed<WalkTarget>(() => {
  if (moment.value !== undefined) return { kind: "moment", ...moment.value };
  return step.value === undefined
    ? { kind: "packets", packets: packets.value, family: family.value }
    : { kind: "scenario", step: step.value };
});

/** The lines of the manifests that the answer names. */
export const litPlaces = computed<readonly Place[]>(() => walk.value?.places ?? []);

/** After the last key; well below the 300 ms in which a recompilation should have begun. */
const PAUSE_MS = 200;
let pause: ReturnType<typeof setTimeout> | undefined;

export function editFile(index: number, text: string): void {
  files.value = files.value.map((file, at) => (at === index ? { ...file, text } : file));
  origin.value = textOrigin();
  clearTimeout(pause);
  pause = setTimeout(load, PAUSE_MS);
}

function textOrigin(): Origin {
  return {
    kind: "text",
    files: files.value,
    ...(scenario.value !== undefined && { scenario: scenario.value }),
  };
}

/** Other manifests in the place of those there are. */
export function openFiles(
  next: readonly ManifestFile[],
  story: ManifestFile | undefined,
  from?: Origin,
): Promise<void> {
  areOthers = true;
  batch(() => {
    files.value = next;
    scenario.value = story;
    origin.value = from ?? textOrigin();
    shownFile.value = 0;
    saved.value = undefined;
    step.value = undefined;
    moment.value = undefined;
    packets.value = [];
    family.value = undefined;
    walk.value = undefined;
    others.value = [];
    position.value = undefined;
    matrixPort.value = undefined;
    timelineNode.value = "";
    limit.value = undefined;
    armed.value = undefined;
  });
  return load();
}

export async function openBundled(name: string): Promise<void> {
  const found = await foundScenario(name);
  if (found !== undefined) await openFiles(found.files, found.scenario, { kind: "bundled", name });
}

/** Undefined: there is none, which the person is told. */
async function foundScenario(name: string): Promise<BundledScenario | undefined> {
  try {
    const found = await scenarioNamed(name);
    if (found === undefined) trouble.value = `there is no scenario ${name}`;
    return found;
  } catch (error) {
    // The server has ended, mostly.
    trouble.value = `${name} cannot be fetched: ${error instanceof Error ? error.message : String(error)}`;
    return undefined;
  }
}

/** The scenario that comes with the page. */
export function openFirst(): Promise<void> {
  return openFiles(FIRST.files, FIRST.scenario, { kind: "bundled", name: FIRST.name });
}

/** Counts loads, so that the matrix and the reports know when theirs are old. */
export const generation = signal(0);

export async function load(): Promise<void> {
  isBusy.value = true;
  try {
    const loading = client.ask("load", { files: files.value, scenario: scenario.value, saved: saved.value });
    // Asked at once, mostly of the packet that is shown: it is walked while the page draws what was loaded.
    const isKnown = moment.value === undefined && (step.value !== undefined || packets.value.length > 0);
    const early = isKnown ? askChosen() : undefined;
    const answer = await loading;
    batch(() => {
      const now = sameCluster(cluster.peek(), answer.cluster);
      loaded.value = { ...answer, cluster: now };
      if (now !== undefined || areOthers) cluster.value = now;
      areOthers = false;
      trouble.value = undefined;
      generation.value++;
    });
    if (answer.cluster === undefined) return;
    chooseFirstPacket(answer);
    await walkNow(early);
  } catch (error) {
    report(error);
  } finally {
    isBusy.value = false;
  }
}

/** The one before where nothing has changed, and its pods where they have not: of the same object nothing is drawn again. */
function sameCluster(before: Loaded["cluster"], now: Loaded["cluster"]): Loaded["cluster"] {
  if (before === undefined || now === undefined) return now;
  const known = new Map(before.pods.map((pod) => [pod.key, pod]));
  const pods = now.pods.map((pod) => {
    const old = known.get(pod.key);
    return old !== undefined && JSON.stringify(old) === JSON.stringify(pod) ? old : pod;
  });
  const isSame = pods.length === before.pods.length && pods.every((pod, index) => pod === before.pods[index]);
  if (!isSame) return { ...now, pods };
  const rest = (cluster: ClusterPicture) => JSON.stringify({ ...cluster, pods: undefined });
  return rest(before) === rest(now) ? before : { ...now, pods: before.pods };
}

/** Something to look at without asking: the first step of a story, else a packet between the first two pods. */
function chooseFirstPacket({ steps, cluster }: Loaded): void {
  const isThere = steps.some(({ kind, number }) => kind === "packet" && number === step.value);
  if (isThere || moment.value !== undefined || (step.value === undefined && packets.value.length > 0)) return;
  const first = steps.find(({ kind }) => kind === "packet");
  if (first !== undefined) {
    step.value = first.number;
    return;
  }
  step.value = undefined;
  const pods = (cluster?.pods ?? []).filter(({ apart }) => apart === undefined);
  const to = pods.find(({ ingress }) => ingress.length > 0) ?? pods[1] ?? pods[0];
  const from = pods.find((pod) => pod !== to) ?? to;
  if (from === undefined || to === undefined) return;
  const [protocol = "tcp", port] = (cluster?.ports[0] ?? "tcp/80").split("/");
  packets.value = [
    {
      protocol,
      source: from.key,
      destination: to.key,
      ...(port !== undefined && { destinationPort: Number(port) }),
    },
  ];
}

let walks = 0;

interface Chosen {
  readonly target: WalkTarget;
  readonly strategy: string;
  readonly answer: Promise<Questions["walk"]["answer"]>;
}

/** Asks about the packet and the strategy that are chosen. */
function askChosen(): Chosen {
  const chosen = { target: target.value, strategy: strategy.value };
  const answer = askAbout("walk", { target: chosen.target, walks: true, strategies: [chosen.strategy] });
  // Who does not wait for it need not hear of it.
  answer.catch(() => undefined);
  return { ...chosen, answer };
}

/** `early`: what was asked already, perhaps of another packet. */
export async function walkNow(early?: Chosen): Promise<void> {
  if (loaded.value?.cluster === undefined) return;
  const turn = ++walks;
  const names = loaded.value.strategies.map(({ name }) => name);
  const ask = { target: target.value, walks: true };
  const isStill = early?.target === ask.target && early.strategy === strategy.value;
  try {
    const [answer] = await (isStill ? early : askChosen()).answer;
    walk.value = answer;
    if (answer !== undefined)
      said.value =
        answer.absent === undefined
          ? `${answer.strategy}: ${answer.verdict}. ${answer.because[0] ?? ""}`
          : `${answer.strategy}: ${answer.absent}`;
    const all: StrategyWalk[] = [];
    // One at a time, so that a question of the person's own need not wait for all of them.
    for (const name of names) {
      const [other] = await askOthers({ ...ask, walks: false, strategies: [name] });
      // Another packet, or another cluster, is walked by now.
      if (turn !== walks) return;
      if (other === undefined) continue;
      all.push(other);
      // Each as it comes, where they take their time.
      if (isLarge()) others.value = [...all, ...others.value.slice(all.length)];
    }
    others.value = all;
  } catch (error) {
    report(error);
  }
}

function isLarge(): boolean {
  return (loaded.peek()?.cluster?.pods.length ?? 0) > MANY;
}

async function askOthers(ask: WalkAsk): Promise<readonly StrategyWalk[]> {
  if (!isLarge() || ask.target.kind === "moment") return askAbout("walk", ask, "others");
  if (asideLoaded !== generation.peek()) {
    asideLoaded = generation.peek();
    await aside.ask("load", { files: files.peek(), scenario: scenario.peek(), saved: saved.peek() });
  }
  return aside.ask("walk", ask, "others");
}

export function report(error: unknown): void {
  if (error instanceof Overtaken) return;
  const text = error instanceof Error ? error.message : String(error);
  trouble.value = error instanceof Refused && error.isBug ? `This is a bug of chainwalk: ${text}` : text;
}

/** Walks a packet of the timeline where it meets what it meets. */
export function showMoment(next: Moment): Promise<void> {
  batch(() => {
    moment.value = next;
    position.value = undefined;
    view.value = "walk";
  });
  return walkNow();
}

export function chooseStep(number: number): Promise<void> {
  batch(() => {
    moment.value = undefined;
    step.value = number;
    position.value = undefined;
  });
  return walkNow();
}

/** One's own packets; the last is walked. */
export function sendPackets(next: readonly PacketObject[]): Promise<void> {
  batch(() => {
    moment.value = undefined;
    step.value = undefined;
    packets.value = next;
    position.value = undefined;
    trouble.value = undefined;
  });
  return walkNow();
}

export function chooseStrategy(name: string): Promise<void> {
  batch(() => {
    strategy.value = name;
    position.value = undefined;
  });
  return walkNow();
}

export async function sendNext(kind: NextAsk["kind"]): Promise<void> {
  try {
    const answer = await askAbout("next", { kind, target: target.value });
    await sendPackets(answer.packets);
  } catch (error) {
    report(error);
  }
}

export function stateNow(): SharedState {
  const replay = sharedReplay();
  return {
    version: 1,
    origin: origin.value,
    ...(saved.value !== undefined && { saved: saved.value }),
    view: view.value,
    strategy: strategy.value,
    ...(step.value === undefined ? { packets: packets.value } : { step: step.value }),
    ...(moment.value !== undefined && { moment: moment.value }),
    ...(family.value !== undefined && { family: family.value }),
    ...(position.value !== undefined && { position: position.value }),
    ...(matrixPort.value !== undefined && { port: matrixPort.value }),
    ...(compared.value !== undefined && { compared: compared.value }),
    ...(timelineNode.value !== "" && { node: timelineNode.value }),
    ...(limit.value !== undefined && { limit: limit.value }),
    ...(replay !== undefined && { replay }),
  };
}

const NOTHING: ServedFiles = { files: [], scenario: undefined };

/** A link's state, and the files that it is of. */
interface Picture {
  readonly state: SharedState;
  readonly found: ServedFiles;
}

async function pictureOf(state: SharedState, served: ServedFiles | undefined): Promise<Picture> {
  const from = state.origin;
  if (from.kind === "text") return { state, found: { files: from.files, scenario: from.scenario } };
  return { state, found: (from.kind === "served" ? served : await foundScenario(from.name)) ?? NOTHING };
}

/** The picture of a link. */
export async function showState(state: SharedState, served: ServedFiles | undefined): Promise<void> {
  await showPicture(await pictureOf(state, served));
}

async function showPicture({ state, found: { files: manifests, scenario: story } }: Picture): Promise<void> {
  const from = state.origin;
  areOthers = true;
  batch(() => {
    files.value = manifests;
    scenario.value = story;
    origin.value = from;
    shownFile.value = 0;
    saved.value = state.saved;
    view.value = state.view ?? "walk";
    strategy.value = state.strategy ?? "kube-router";
    step.value = state.step;
    moment.value = state.moment;
    packets.value = state.packets ?? [];
    family.value = state.family;
    position.value = state.position;
    matrixPort.value = state.port;
    compared.value = state.compared;
    timelineNode.value = state.node ?? "";
    limit.value = state.limit;
    showReplay(state.replay);
  });
  await load();
}

/** Manifests above this are put into the address only when somebody asks for a link: browsers cut long ones. */
const MOST_IN_ADDRESS = 200_000;

/** Keeps the address what reproduces the picture; `shown` is the one that was opened. */
export function followAddress(shown: string): void {
  const bar: AddressBar = {
    get hash() {
      return location.hash;
    },
    replace: (hash) => history.replaceState(undefined, "", `${location.pathname}${location.search}${hash}`),
  };
  const address = new KeptAddress(bar, shown);
  effect(() => {
    const state = stateNow();
    if (loaded.value !== undefined) address.write(() => hashOf(state));
  });
  const follow = () => address.follow(pictureOfLink, showLink);
  addEventListener("hashchange", follow);
  // One that was followed while the first was being shown.
  void follow();
}

async function pictureOfLink(hash: string): Promise<Picture | undefined> {
  const state = await decodeState(hash.slice(1));
  return state === undefined ? undefined : pictureOf(state, isServed() ? await servedFiles() : undefined);
}

async function showLink(picture: Picture | undefined): Promise<void> {
  if (picture === undefined) trouble.value = "the link is damaged";
  else await showPicture(picture);
}

async function hashOf(state: SharedState): Promise<string> {
  const manifests =
    state.origin.kind === "text" ? state.origin.files.reduce((sum, { text }) => sum + text.length, 0) : 0;
  const size = manifests + (state.replay === undefined ? 0 : sizeOfReplay(state.replay));
  return size > MOST_IN_ADDRESS ? "" : `#${await encodeState(state)}`;
}

export async function linkNow(): Promise<string> {
  const { origin: base, pathname, search } = location;
  const here = location.protocol === "file:" ? `file://${pathname}` : `${base}${pathname}${search}`;
  const state = stateNow();
  // The server of these manifests is on this machine, and ends with its command; the link is for others too.
  const portable = state.origin.kind === "served" ? { ...state, origin: textOrigin() } : state;
  return `${here}#${await encodeState(portable)}`;
}
