/**
 * What the compiler uses of `lru-cache`, for the page: the package is 5 kB of its first load. A `Map` keeps the order in
 * which keys were set; one that is asked for is set again.
 */
import type { LRUCache as Package } from "lru-cache";

export class LRUCache<K extends object | string, V extends object | string> implements Pick<Package<K, V>, "get"> {
  readonly #max: number;
  readonly #values = new Map<K, V>();

  constructor({ max }: { readonly max: number }) {
    this.#max = max;
  }

  get(key: K): V | undefined {
    const value = this.#values.get(key);
    if (value !== undefined) this.#renew(key, value);
    return value;
  }

  set(key: K, value: V): this {
    this.#renew(key, value);
    if (this.#values.size > this.#max) this.#values.delete(this.#values.keys().next().value as K);
    return this;
  }

  #renew(key: K, value: V): void {
    this.#values.delete(key);
    this.#values.set(key, value);
  }
}
