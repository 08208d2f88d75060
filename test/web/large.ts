/** A cluster of 1,000 pods and 500 policies, and what to change in it so that a packet's verdict is another. */
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { COMPILE_WORKLOAD, clusterOf, clusterText } from "../../bench/workloads.ts";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel, Endpoint, NetworkPolicy } from "../../compiler/model.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { ReferenceConnections } from "../../reference/connections.ts";
import { isWhole } from "../extent.ts";
import type { PageUnderTest } from "./browser.ts";

export interface LargeCluster {
  readonly text: string;
  readonly pods: number;
  readonly policies: number;
  /** Admitted, by the number of one port in one rule and by labels of the sender. */
  readonly packet: { readonly source: string; readonly destination: string; readonly port: number };
  /** Lines, from 1, that admit the packet: the port in the policy, and a label of the sender. */
  readonly portLine: number;
  readonly labelLine: number;
}

export function largeCluster(): LargeCluster {
  const model = clusterOf(COMPILE_WORKLOAD);
  const text = clusterText(model, "yaml");
  const cluster = resolvePolicies(model);
  const verdict = (now: ClusterModel, source: Endpoint, destination: Endpoint, port: number) => {
    const [from, to] = [source.addresses[0], destination.addresses[0]];
    if (from === undefined || to === undefined) return undefined;
    const packet = makePacket({ protocol: PROTOCOL.tcp, source: from, destination: to, destinationPort: port });
    return new ReferenceConnections(now).push(packet).verdict;
  };
  for (const { policy, subjects, ingress } of cluster.policies) {
    const [rule] = ingress;
    const [peer, port] = [rule?.peers[0], rule?.ports[0]?.port];
    if (peer?.kind !== "pods" || typeof port !== "number") continue;
    const [label] = peer.podSelector?.matchLabels ?? [];
    const [destination, source] = [subjects[0], peer.members.find((pod) => pod !== subjects[0])];
    if (label === undefined || destination === undefined || source === undefined) continue;
    const otherPort = { ...policy, ingress: policy.ingress.map((each) => ({ ...each, ports: [] })).slice(1) };
    const otherLabel = { ...source, labels: new Map([...source.labels, [label[0], `${label[1]}1`]]) };
    const changes: readonly ClusterModel[] = [
      { ...model, policies: model.policies.map((each) => (each === policy ? otherPort : each)) },
      { ...model, endpoints: model.endpoints.map((each) => (each === source ? otherLabel : each)) },
    ];
    if (verdict(model, source, destination, port) !== "accept") continue;
    if (changes.some((changed) => verdict(changed, source, destination, port) !== "drop")) continue;
    return {
      text,
      pods: model.endpoints.length,
      policies: model.policies.length,
      packet: { source: source.key, destination: destination.key, port },
      portLine: lineOf(text, policy, `port: ${port}`),
      labelLine: lineOf(text, source, `${label[0]}: ${label[1]}`),
    };
  }
  throw new Error("no packet of the cluster is admitted by one port of one rule alone");
}

/** The first line of an object's document that ends so. */
function lineOf(text: string, { name, namespace }: Endpoint | NetworkPolicy, end: string): number {
  const lines = text.split("\n");
  const start = lines.findIndex(
    (line, index) =>
      line === `  name: ${name}` && lines.slice(index - 2, index + 3).includes(`  namespace: ${namespace}`),
  );
  const found = lines.findIndex((line, index) => index > start && line.endsWith(end));
  if (start < 0 || found < 0) throw new Error(`${namespace}/${name} has no line "${end}"`);
  return found + 1;
}

export async function openLarge(page: Page, { text }: LargeCluster): Promise<void> {
  await page
    .locator(".manifests input[type=file]")
    .setInputFiles({ name: "large.yaml", mimeType: "text/yaml", buffer: Buffer.from(text) });
  await page.locator(".pane-head", { hasText: "1,000 pods, 500 policies" }).waitFor();
}

export async function sendLarge(page: Page, { source, destination, port }: LargeCluster["packet"]): Promise<void> {
  const field = (name: string) => page.locator(".packet").getByLabel(name, { exact: true });
  await field("From").fill(source);
  await field("To").fill(destination);
  await field("Port").fill(String(port));
  await field("Port").press("Enter");
}

/** Of the browser, in functions that are evaluated there. */
interface Scroller {
  scrollTop: number;
  readonly scrollHeight: number;
}

/** Scrolls the editor to a line, as a person would, and puts the caret at its end. */
export async function goToLine(page: Page, line: number, text: string): Promise<void> {
  const lines = text.split("\n");
  await page.locator(".cm-scroller").evaluate(
    (scroller, { part }) => {
      const view = scroller as unknown as Scroller;
      view.scrollTop = view.scrollHeight * part;
    },
    { part: Math.max(0, line - 10) / lines.length },
  );
  const number = page.locator(".cm-lineNumbers .cm-gutterElement", { hasText: new RegExp(`^${line}$`) });
  const box = await number.boundingBox();
  const content = await page.locator(".cm-content").boundingBox();
  if (box === null || content === null) throw new Error(`line ${line} is not in sight`);
  await page.mouse.click(content.x + 40, box.y + box.height / 2);
  await page.keyboard.press("End");
}

/** Tests with the large cluster, in a window of its own. */
export function testLarge(opened: () => PageUnderTest): void {
  it.runIf(isWhole)("1,000 pods and 500 policies are loaded, walked, edited and scrolled through", async () => {
    const large = largeCluster();
    const page = await opened().open("");
    await page.locator("#verdict").waitFor();
    await openLarge(page, large);
    expect(await page.locator(".map .end[data-end*='/']").count()).toBe(large.pods);
    await sendLarge(page, large.packet);
    const { source, destination } = large.packet;
    await page.locator(".packet-line", { hasText: `(${source}) >` }).waitFor();
    const shows = (verdict: string) => page.locator("#verdict", { hasText: verdict }).waitFor();
    await shows("accept");
    // A node of the document that is not to be made again.
    const other = page.locator(`[data-end="${destination}"]`);
    await other.evaluate((button) => Object.assign(button, { isMarked: true }));

    await goToLine(page, large.portLine, large.text);
    await page.keyboard.type("1");
    await shows("reject");
    // What the walk has found does not scroll the editor away from who types.
    await page.locator(".cm-line", { hasText: `port: ${large.packet.port}1` }).waitFor();
    await page.keyboard.press("Backspace");
    await shows("accept");

    await goToLine(page, large.labelLine, large.text);
    await page.keyboard.type("1");
    await shows("reject");
    const [key = "", label = ""] = (large.text.split("\n")[large.labelLine - 1] ?? "").trim().split(": ");
    await page.locator(`[data-end="${source}"][title*="${key}=${label}1"]`).waitFor();
    expect(await other.evaluate((button) => (button as unknown as { isMarked?: boolean }).isMarked)).toBe(true);
    await page.keyboard.press("Enter");
    await page.keyboard.type(`${key}: twice`);
    await page.locator(".issues li.error", { hasText: `large.yaml:${large.labelLine + 1}:` }).waitFor();
    for (let undone = 0; undone < 12; undone++) await page.keyboard.press("Control+z");
    await page.locator(".issues li.error").waitFor({ state: "detached" });
    await shows("accept");

    // Of all strategies the one whose ten nodes are compiled fastest.
    await page.locator("#strategy").selectOption("romana");
    await page.locator(".tabs button", { hasText: "Matrix" }).click();
    const box = page.locator(".matrix-box");
    await box.evaluate((element) => {
      const view = element as unknown as Scroller;
      view.scrollTop = view.scrollHeight;
    });
    const { x = 0, y = 0, width = 0, height = 0 } = (await box.boundingBox()) ?? {};
    await page.mouse.move(x + width / 2, y + height - 30);
    await expect
      .poll(() => page.locator("#matrix-cell").textContent(), { timeout: 60_000 })
      .toMatch(/^ns-\d+\/pod-\d+ > ns-\d+\/pod-\d+ (accept|drop|reject)/);
    await page.context().close();
  });
}
