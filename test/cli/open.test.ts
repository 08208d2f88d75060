/** `--open` without a browser: what it refuses, what it says, and how the browser of the desktop is called. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openBrowser } from "../../cli/openBrowser.ts";
import { chainwalk, type World } from "./commandLine.ts";

const ONE = "trace -f scenarios/db-policy --from intruder --to db --port 3306";
const BUILT: World = { page: "built", files: { "built/index.html": "" } };

/** Runs until the address is there, and presses Ctrl-C. */
async function opened(command: string, world: World = {}) {
  const ended = new AbortController();
  return chainwalk(`${command} --open`, {
    ...BUILT,
    interrupted: ended.signal,
    ...world,
    opened: (address) => {
      // What the opener says comes first.
      setImmediate(() => ended.abort());
      return world.opened?.(address);
    },
  });
}

describe("--open", () => {
  it("prints the result as without it, and the address among the messages, also when quiet", async () => {
    const { out, err } = await opened(`${ONE} -q`);
    expect(out).toBe((await chainwalk(ONE)).out);
    expect(err).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#[\w-]+\n$/);
  });

  it("says why there is no browser, and goes on", async () => {
    const { err, code } = await opened(ONE, { opened: () => "there is no xdg-open here" });
    expect(err).toContain("no browser was opened: there is no xdg-open here");
    expect(code).toBe(130);
  });

  it("serves what came by standard input", async () => {
    const manifests = readFileSync("scenarios/db-policy/cluster.yaml", "utf8");
    let served: Promise<unknown> = Promise.resolve();
    const ended = new AbortController();
    await chainwalk(`${ONE.replace("scenarios/db-policy", "-")} --open`, {
      ...BUILT,
      stdin: manifests,
      interrupted: ended.signal,
      opened: (address) => {
        served = fetch(new URL("manifests.json", address))
          .then((response) => response.json())
          .finally(() => ended.abort());
        return undefined;
      },
    });
    expect(await served).toEqual({ files: [{ name: "-", text: manifests }] });
  });

  it.each([
    [`${ONE} --set x=y`, "--set"],
    ["trace -f scenarios/db-policy --packets scenarios/db-policy/scenario.yaml --fresh", "--fresh"],
    ["trace -f scenarios/db-policy --packets scenarios/db-policy/scenario.yaml -n prod", "--namespace of a scenario"],
    [`${ONE} --node node-a --iptables-save x -s all`, "the saves under several strategies"],
    ["matrix -f scenarios/db-policy --family 4", "--family"],
    ["matrix -f scenarios/db-policy -n prod", "--namespace"],
    ["matrix -f scenarios/db-policy --port tcp/80,tcp/81", "several ports"],
    ["matrix -f scenarios/rule-in-front --at 1", "--at"],
    ["compare -f scenarios/rule-in-front --at 1", "--at"],
    ["timeline -f scenarios/rule-in-front --profile x", "--profile"],
  ])("%s: the page could not show it", async (command, flag) => {
    const { code, out, err } = await chainwalk(`${command} --open`, BUILT);
    expect(err).toContain(`--open and ${flag} exclude each other`);
    expect([code, out]).toEqual([2, ""]);
  });

  it("takes no watch events", async () => {
    const { code, err } = await chainwalk("timeline -f watch.json --open", {
      files: { ...BUILT.files, "watch.json": "{}" },
      page: "built",
    });
    expect(err).toContain("--open takes a scenario folder or a folder of snapshots");
    expect(code).toBe(2);
  });

  it("says that the page has not been built", async () => {
    const { code, err } = await chainwalk(`${ONE} --open`, { page: "nothing" });
    expect(err).toContain("nothing holds no page");
    expect(code).toBe(2);
  });
});

describe.runIf(process.platform === "linux")("the browser of the desktop", () => {
  const path = process.env.PATH;
  let folder = "";

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "chainwalk-desktop-"));
    process.env.PATH = folder;
  });
  afterEach(() => {
    process.env.PATH = path;
    rmSync(folder, { recursive: true });
  });

  const opener = (script: string) => {
    writeFileSync(join(folder, "xdg-open"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, "xdg-open"), 0o755);
  };

  it("gets the address as it is", async () => {
    opener(`printf %s "$*" > ${join(folder, "asked")}`);
    expect(await openBrowser("http://127.0.0.1:1/#a-b_c")).toBeUndefined();
    expect(readFileSync(join(folder, "asked"), "utf8")).toBe("http://127.0.0.1:1/#a-b_c");
  });

  it("may be none", async () => {
    expect(await openBrowser("http://127.0.0.1:1/")).toBe("there is no xdg-open here");
  });

  it("may fail", async () => {
    opener("exit 3");
    expect(await openBrowser("http://127.0.0.1:1/")).toBe("xdg-open ended with code 3");
  });
});
