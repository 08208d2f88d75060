/**
 * The page's files over HTTP, for this machine alone: the loopback address, and only for who calls it by its name. A page
 * of another site whose name was made to point here (DNS rebinding) calls by that name and is refused.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type BrotliOptions, brotliCompress, constants, gzip } from "node:zlib";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import { OF_SERVER, policyText } from "../web/policy.ts";

const brotli = promisify<Buffer, BrotliOptions, Buffer>(brotliCompress);

/** By the name of the coding, the smallest first; what the build has not compressed is compressed quickly. */
const CODINGS = [
  ["br", (body: Buffer) => brotli(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } })],
  ["gzip", promisify<Buffer, Buffer>(gzip)],
] as const;

const HOST = "127.0.0.1";

const HEADERS = {
  "Content-Security-Policy": policyText(OF_SERVER),
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cache-Control": "no-cache",
} as const;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json; charset=utf-8",
};

/** An editor writes a file in several steps; one change is told when they are over. */
const SETTLE_MS = 100;

/** What the page loads from its server. */
export interface ServedFiles {
  /** None: the page shows its examples. */
  readonly files: readonly ManifestFile[];
  /** `scenario.yaml`, whose steps can be walked. */
  readonly scenario?: ManifestFile;
}

export class PageServer {
  readonly #manifests: () => Promise<ServedFiles>;
  readonly #folder: string;
  readonly #server: Server;
  readonly #listeners = new Set<ServerResponse>();
  readonly #watchers: FSWatcher[] = [];
  #settling: NodeJS.Timeout | undefined;

  /** `manifests`: read anew each time they are asked for. `folder`: of the build. */
  constructor(manifests: () => Promise<ServedFiles>, folder: string) {
    this.#manifests = manifests;
    this.#folder = folder;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        // Manifests that can no longer be read, mostly: the page shows it, and asks again when they change.
        const message = error instanceof Error ? error.message : String(error);
        if (!response.headersSent) response.writeHead(500, { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" });
        response.end(message);
      });
    });
  }

  /** Resolves to the address: `http://127.0.0.1:8713`. Rejects when the port is taken. */
  listen(port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, HOST, () => {
        const bound = this.#server.address();
        if (bound === null || typeof bound === "string") reject(new Error("no port was bound"));
        else resolve(`http://${HOST}:${bound.port}`);
      });
    });
  }

  /** Tells the pages when something under the paths changes. */
  watch(paths: readonly string[]): void {
    for (const path of paths) {
      this.#watchers.push(watch(path, { recursive: true }, () => this.#changed()));
      // A file that is replaced by another of its name (as editors do) is no longer the one watched; its folder is.
      this.#watchers.push(watch(dirname(path), () => this.#changed()));
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
    for (const listener of this.#listeners) listener.end();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #changed(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      for (const listener of this.#listeners) listener.write("data: changed\n\n");
    }, SETTLE_MS);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bound = this.#server.address();
    const port = bound !== null && typeof bound === "object" ? bound.port : 0;
    if (![`${HOST}:${port}`, `localhost:${port}`].includes(request.headers.host ?? "")) {
      response.writeHead(403, { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" });
      response.end(`this server answers to http://${HOST}:${port} alone\n`);
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { ...HEADERS, Allow: "GET, HEAD" }).end();
      return;
    }
    const [path = "/"] = (request.url ?? "/").split("?");
    if (path === "/changes") {
      response.writeHead(200, { ...HEADERS, "Content-Type": "text/event-stream" });
      response.write(": listening\n\n");
      this.#listeners.add(response);
      response.on("close", () => this.#listeners.delete(response));
      return;
    }
    if (path === "/manifests.json") {
      const body = Buffer.from(JSON.stringify(await this.#manifests()));
      await send(request, response, { type: "json", body });
      return;
    }
    const name = path === "/" ? "index.html" : path.slice(1);
    // Names of the build's own files only: nothing can climb out of the folder.
    const file = /^(?:index\.html|chainwalk\.html|assets\/[\w.-]+)$/.test(name) ? await this.#file(name) : undefined;
    if (file === undefined) {
      response.writeHead(404, { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" }).end("no such file\n");
      return;
    }
    const isPage = name === "index.html";
    const body = isPage ? Buffer.from(file.toString("utf8").replace(STATIC_MARK, SERVED_MARK)) : file;
    const brotli = isPage ? undefined : await this.#file(`${name}.br`);
    await send(request, response, { type: name.slice(name.lastIndexOf(".") + 1), body, ...(brotli && { brotli }) });
  }

  /** Undefined: there is none of that name. */
  async #file(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#folder, name));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
  }
}

const STATIC_MARK = '<meta name="chainwalk" content="static">';
const SERVED_MARK = '<meta name="chainwalk" content="served">';

interface Body {
  /** By the ending of the name. */
  readonly type: string;
  readonly body: Buffer;
  /** The same, compressed by the build. */
  readonly brotli?: Buffer;
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  { type, body, brotli: built }: Body,
): Promise<void> {
  const tag = `"${createHash("sha256").update(body).digest("base64url")}"`;
  const headers = {
    ...HEADERS,
    "Content-Type": TYPES[type] ?? "application/octet-stream",
    ETag: tag,
    Vary: "Accept-Encoding",
  };
  if (request.headers["if-none-match"] === tag) {
    response.writeHead(304, headers).end();
    return;
  }
  const accepted = (request.headers["accept-encoding"] ?? "").toString().split(/[\s,]+/);
  const [coding, compress] = CODINGS.find(([name]) => accepted.includes(name)) ?? [];
  const sent = await (coding === "br" && built !== undefined ? built : compress === undefined ? body : compress(body));
  response.writeHead(200, {
    ...headers,
    ...(coding !== undefined && { "Content-Encoding": coding }),
    "Content-Length": sent.length,
  });
  response.end(request.method === "HEAD" ? undefined : sent);
}
