/** The cluster as a picture: nodes, namespaces, pods, outside; click or drag from one to another makes a packet. */
import { useComputed } from "@preact/signals";
import type { VNode } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ClusterPicture, NodePicture, PodPicture } from "./messages.ts";
import { draft, sendDraft } from "./packet.ts";
import { armed, cluster as drawn, loaded, MANY, said, walk } from "./state.ts";

export function ClusterView() {
  const cluster = drawn.value;
  const box = useRef<HTMLDivElement>(null);
  // A thousand pods are drawn when the cluster changes, not with every packet.
  const nodes = useMemo(() => cluster && <Nodes cluster={cluster} />, [cluster]);
  if (cluster === undefined) return undefined;
  const many = cluster.pods.length > MANY;
  return (
    <section class="pane cluster" aria-labelledby="cluster-title">
      <header class="pane-head">
        <h2 id="cluster-title">Cluster</h2>
        <span class="faint">
          {count(cluster.nodes.length, "node")}, {count(cluster.pods.length, "pod")},{" "}
          {count(cluster.policies, "policy", "policies")}
        </span>
        <span class="spring" />
        <span class="legend" aria-hidden="true">
          <i class="mark in" /> isolated for ingress <i class="mark out" /> for egress
        </span>
      </header>
      <div class={`map${many ? " many" : ""}`} ref={box}>
        {nodes}
        <div class="node outside">
          <h3>outside</h3>
          <div class="pods">
            {outsideOf(cluster).map((address) => (
              <End key={address} name={address} label={address} />
            ))}
          </div>
        </div>
        <Arrow box={box} />
      </div>
      {loaded.value?.story !== undefined && <p class="hint story">{loaded.value.story}</p>}
      <p class="hint" role="status">
        {armed.value === undefined
          ? "Choose a sender, then a receiver. Or drag from one to the other."
          : `From ${armed.value}: choose the receiver, or press Escape.`}
      </p>
    </section>
  );
}

function Nodes({ cluster: { nodes, pods } }: { readonly cluster: ClusterPicture }) {
  const homeless = pods.filter(({ node }) => !nodes.some(({ name }) => name === node));
  return (
    <>
      {nodes.map((node) => (
        <NodeBox key={node.name} node={node} pods={pods.filter((pod) => pod.node === node.name)} />
      ))}
      {homeless.length > 0 && (
        <div class="node">
          <h3>on no node</h3>
          <Pods pods={homeless} />
        </div>
      )}
    </>
  );
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Those that policies name, and the ends of the packet that are nowhere else. */
function outsideOf({ outside, pods, nodes }: ClusterPicture): readonly string[] {
  const known = new Set([...pods.map(({ key }) => key), ...nodes.map(({ name }) => `node:${name}`), ...outside]);
  const ends = [walk.value?.source, walk.value?.destination];
  return [...outside, ...ends.filter((end): end is string => end !== undefined && end !== "" && !known.has(end))];
}

function NodeBox({ node, pods }: { readonly node: NodePicture; readonly pods: readonly PodPicture[] }) {
  return (
    <div class="node">
      <h3>
        <End name={`node:${node.name}`} label={node.name} />
        <span class="faint">{node.addresses[0] ?? ""}</span>
      </h3>
      <Pods pods={pods} />
    </div>
  );
}

function Pods({ pods }: { readonly pods: readonly PodPicture[] }) {
  const namespaces = [...new Set(pods.map(({ namespace }) => namespace))];
  return (
    <>
      {namespaces.map((namespace) => (
        <div class="namespace" key={namespace}>
          <h4>{namespace}</h4>
          <div class="pods">{pods.filter((pod) => pod.namespace === namespace).map(endOf)}</div>
        </div>
      ))}
    </>
  );
}

const ENDS = new WeakMap<PodPicture, VNode>();

/** The same node for the same pod: it is not drawn again when another pod has changed. */
function endOf(pod: PodPicture): VNode {
  const known = ENDS.get(pod) ?? <End key={pod.key} name={pod.key} label={pod.name} pod={pod} />;
  ENDS.set(pod, known);
  return known;
}

interface EndProps {
  /** As WHO of the command line. */
  readonly name: string;
  readonly label: string;
  readonly pod?: PodPicture;
}

/** Something that can send and receive. */
function End({ name, label, pod }: EndProps) {
  // Of a thousand ends a packet changes two: the others are not drawn again.
  const role = useComputed(() =>
    [
      walk.value?.source === name ? " source" : "",
      walk.value?.destination === name ? " destination" : "",
      armed.value === name ? " armed" : "",
    ].join(""),
  ).value;
  const isolated = [pod?.ingress.length ? "in" : "", pod?.egress.length ? "out" : ""].join(" ");
  return (
    <button
      type="button"
      class={`end ${isolated}${role}${pod?.apart === undefined ? "" : " apart"}`}
      data-end={name}
      title={titleOf(name, pod)}
      aria-label={titleOf(name, pod)}
      aria-pressed={role.includes("armed")}
      onClick={() => choose(name)}
      onKeyDown={(event) => {
        if (event.key === "Escape") armed.value = undefined;
      }}
      onPointerDown={() => {
        dragged = name;
      }}
      onPointerUp={() => {
        if (dragged !== undefined && dragged !== name) send(dragged, name);
        dragged = undefined;
      }}
    >
      {label}
    </button>
  );
}

let dragged: string | undefined;

function titleOf(name: string, pod: PodPicture | undefined): string {
  if (pod === undefined) return name;
  const isolation = [
    ...(pod.ingress.length > 0 ? [`isolated for ingress by ${pod.ingress.join(", ")}`] : []),
    ...(pod.egress.length > 0 ? [`isolated for egress by ${pod.egress.join(", ")}`] : []),
  ];
  const parts = [
    pod.addresses.join(" "),
    pod.labels,
    pod.apart ?? (isolation.length === 0 ? "not isolated" : isolation.join("; ")),
  ];
  return `${name}: ${parts.filter((part) => part !== "").join("; ")}`;
}

function choose(name: string): void {
  const from = armed.value;
  if (from === undefined || from === name) {
    armed.value = from === name ? undefined : name;
    said.value = armed.value === undefined ? "No sender chosen" : `Sender ${name}. Choose the receiver.`;
    return;
  }
  send(from, name);
}

function send(source: string, destination: string): void {
  armed.value = undefined;
  draft.value = { ...draft.value, source, destination };
  void sendDraft();
}

/** The packet, from its sender to its receiver, over the picture. */
function Arrow({ box }: { readonly box: { readonly current: HTMLDivElement | null } }) {
  const [path, setPath] = useState("");
  const shown = walk.value;
  const generation = loaded.value;
  useLayoutEffect(() => {
    const draw = () => setPath(pathBetween(box.current, shown?.source, shown?.destination));
    draw();
    if (box.current === null || generation === undefined) return undefined;
    const observer = new ResizeObserver(draw);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [shown, generation, box]);
  if (path === "" || shown === undefined || shown.absent !== undefined) return undefined;
  return (
    <svg class={`arrow ${shown.verdict}`} aria-hidden="true">
      <defs>
        <marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
          <path d={shown.verdict === "accept" ? "M0 0L8 4L0 8Z" : "M1 1L7 7M7 1L1 7"} />
        </marker>
      </defs>
      <path d={path} marker-end="url(#head)" />
    </svg>
  );
}

function pathBetween(box: HTMLElement | null, source: string | undefined, destination: string | undefined): string {
  if (box === null || source === undefined || destination === undefined) return "";
  const find = (name: string) => box.querySelector(`[data-end="${CSS.escape(name)}"]`)?.getBoundingClientRect();
  const [from, to] = [find(source), find(destination)];
  if (from === undefined || to === undefined) return "";
  const frame = box.getBoundingClientRect();
  const middle = (rectangle: DOMRect) => ({
    x: rectangle.left + rectangle.width / 2 - frame.left + box.scrollLeft,
    y: rectangle.top + rectangle.height / 2 - frame.top + box.scrollTop,
  });
  const [a, b] = [middle(from), middle(to)];
  if (source === destination) return loopBeside(a.x + from.width / 2 + 3, a.y);
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  // From edge to edge of the two boxes, bowed a little so that it does not run along a row of names.
  const cut = (rectangle: DOMRect) =>
    Math.min(
      Math.abs(dx) < 1 ? Number.POSITIVE_INFINITY : (rectangle.width / 2 + 3) / Math.abs(dx),
      Math.abs(dy) < 1 ? Number.POSITIVE_INFINITY : (rectangle.height / 2 + 3) / Math.abs(dy),
    );
  const [start, end] = [Math.min(0.4, cut(from)), Math.min(0.4, cut(to))];
  const [x1, y1, x2, y2] = [a.x + dx * start, a.y + dy * start, b.x - dx * end, b.y - dy * end];
  const bow = Math.min(36, Math.hypot(dx, dy) / 5);
  const length = Math.hypot(dx, dy) || 1;
  const [cx, cy] = [(x1 + x2) / 2 - (dy / length) * bow, (y1 + y2) / 2 + (dx / length) * bow];
  return `M${x1.toFixed(1)} ${y1.toFixed(1)}Q${cx.toFixed(1)} ${cy.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}

/** Out of a box and back into it, at its right edge. */
function loopBeside(x: number, y: number): string {
  const [near, far, reach] = [6, 20, 28];
  const points = [`${x + reach} ${y - far}`, `${x + reach} ${y + far}`, `${x} ${y + near}`];
  return `M${x} ${y - near}C${points.join(" ")}`;
}
