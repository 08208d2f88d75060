/** Replay in the page, as links have it: what the command line writes with the same flags. */
import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { encodeState } from "../../web/share.ts";
import type { SharedReplay, SharedState } from "../../web/sharedState.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole } from "../extent.ts";
import { shownReport, trimmed } from "./reports.ts";

const FOLDER = "scenarios/recorded-shop";
const CAPTURE = `${FOLDER}/shop.pcap`;
const CLUSTER = `${FOLDER}/cluster.yaml`;
const POLICIES = readFileSync(`${FOLDER}/policies.yaml`, "utf8");
const BYTES = readFileSync(CAPTURE);
const RECORDING = { name: "shop.pcap", size: BYTES.length, text: BYTES.toString("base64") };

declare const location: { hash: string };

const filled = (lines: readonly string[]) => lines.filter((line) => line !== "");

/** A report that is asked for anew is not there for a while. */
async function expectShown(page: Page, printed: readonly string[]): Promise<void> {
  const lines = async () =>
    (await page.locator(".report .text").count()) === 0 ? [] : filled(await shownReport(page));
  await expect.poll(lines, { timeout: 30_000 }).toEqual(printed);
}

/** Tests of replay, on a page that others use as well. */
export function testReplays(opened: () => Page): void {
  const follow = async (replay: SharedReplay, more: Partial<SharedState> = {}) => {
    const state: SharedState = {
      version: 1,
      origin: { kind: "bundled", name: "recorded-shop" },
      view: "replay",
      strategy: "kube-router",
      replay,
      ...more,
    };
    const page = opened();
    const hash = await encodeState(state);
    await page.evaluate((next) => {
      location.hash = next;
    }, hash);
    return page;
  };
  /** The report of a link, and what the command prints. */
  const expectSame = async (
    page: Page,
    command: string,
    files: Readonly<Record<string, string>> = {},
    recording = CAPTURE,
  ) => {
    const { out } = await chainwalk(`replay ${recording} ${command}`, { files });
    const printed = filled(trimmed(out.trimEnd()));
    expect(printed.length).toBeGreaterThan(3);
    await expectShown(page, printed);
  };

  it("policies that come after, and those that go with them, as --after and --prune have it", async () => {
    // The first of the documents alone.
    const [text = ""] = POLICIES.split("\n---\n");
    const after = [{ name: "after.yaml", text }];
    const page = await follow({ recording: RECORDING, after, prune: true });
    const files = { "after.yaml": text };
    await expectSame(page, `-f ${FOLDER} --after after.yaml --prune`, files);
    const [pruned] = await shownReport(page);
    await page.locator("#prune").uncheck();
    await expectSame(page, `-f ${FOLDER} --after after.yaml`, files);
    expect((await shownReport(page))[0]).not.toBe(pruned);
  });

  it("packets as lines of JSON, which are read as a log of connections", async () => {
    const packet = (source: number) => ({
      protocol: "tcp",
      source: `10.10.1.${source}`,
      destination: "10.10.1.12",
      destinationPort: 3306,
    });
    const text = `${[11, 14].map((source) => JSON.stringify(packet(source))).join("\n")}\n`;
    const page = await follow({ recording: { name: "log.jsonl", size: text.length, text: btoa(text) } });
    await expectSame(page, `-f ${FOLDER}`, { "log.jsonl": text }, "log.jsonl");
  });

  it.runIf(isWhole)("a filter, a second strategy, and the link that is copied has them all", async () => {
    const page = await follow({ recording: RECORDING });
    await page.locator(".report .text").waitFor();
    await page.locator("#beside").selectOption("cilium-ebpf");
    await page.locator("#filter").fill("tcp porty 80");
    await page.locator("#filter").press("Enter");
    await page.locator(".trouble", { hasText: "filter, column 5: expected" }).waitFor();
    await page.locator("#filter").fill("tcp and not port 80");
    await page.locator("#filter").press("Enter");
    const command = `-f ${FOLDER} -s kube-router,cilium-ebpf --filter`;
    const { out } = await chainwalk(["replay", CAPTURE, ...command.split(" "), "tcp and not port 80"]);
    const printed = filled(trimmed(out.trimEnd()));
    await expectShown(page, printed);
    await page.getByRole("button", { name: "Copy link" }).click();
    await page.getByText(/^(Copied|It is in the address)$/).waitFor();
    const link = new URL(page.url()).hash;
    // Something else in between.
    await follow({ recording: { name: "other.pcap", size: 3_000_000 } });
    await page.getByText("This was made with other.pcap (3.0 MB), which is too large for a link").waitFor();
    await page.evaluate((next) => {
      location.hash = next;
    }, link);
    await expectShown(page, printed);
    expect(await page.locator("#filter").inputValue()).toBe("tcp and not port 80");
  });

  it("says of a recording that a link has no room for it", async () => {
    const page = await follow({});
    const big = Buffer.concat([BYTES, Buffer.alloc(100_000)]);
    await page.locator("#recording").setInputFiles({ name: "big.pcap", mimeType: "", buffer: big });
    await page.getByText("big.pcap (140 kB) is too large for a link").waitFor();
    await page.getByRole("button", { name: "Copy link" }).click();
    await page.getByText(/^(Copied, without big\.pcap|It is in the address)$/).waitFor();
  });

  it.runIf(isWhole)("a node's own saves are what stands before a change", async () => {
    // The node holds the cluster without its policies; the manifests have them.
    const compile = `compile -f ${CLUSTER} -s kube-router --node node-a`;
    const [rules, sets] = await Promise.all(
      ["iptables-save", "ipset-save"].map(async (format) => (await chainwalk(`${compile} -o ${format}`)).out),
    );
    const saved = {
      node: "node-a",
      strategy: "kube-router",
      iptablesSave: rules ?? "",
      ip6tablesSave: "",
      ipsetSave: sets ?? "",
    };
    const files = { "rules.txt": saved.iptablesSave, "sets.txt": saved.ipsetSave, "after.yaml": POLICIES };
    const flags = "--iptables-save rules.txt --ipset-save sets.txt --node node-a";
    const page = await follow({ recording: RECORDING }, { saved });
    await page.locator("#of-node", { hasText: "kube-router is what the saves of node-a say" }).waitFor();
    await expectSame(page, `-f ${FOLDER} ${flags}`, files);
    expect((await shownReport(page))[0]).toContain("24 pass, 0 are refused");
    await follow({ recording: RECORDING, after: [{ name: "after.yaml", text: POLICIES }] }, { saved });
    await expectSame(page, `-f ${FOLDER} ${flags} --after after.yaml`, files);
    await follow({ recording: RECORDING }, { saved, strategy: "calico-iptables" });
    await page.locator("#of-node", { hasText: "which is not among these" }).waitFor();
  });
}
