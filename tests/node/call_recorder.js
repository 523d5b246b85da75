// Records which public methods of client classes a program calls.
//
// The program calls them through proxies, so that the classes stay as they are. A method that only another method calls does
// not count, because methods call each other without the proxy.
'use strict';

const called = new Set();
const methods = new Set();

function functionNames(object) {
  const names = Object.getOwnPropertyNames(object).filter((name) => name !== 'constructor' && !name.startsWith('_'));
  return names.filter((name) => typeof Object.getOwnPropertyDescriptor(object, name).value === 'function');
}

/** Returns a proxy that records the calls of the methods of an object, for the class of this name. */
function recorded(className, object) {
  return new Proxy(object, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== 'function') {
        return value;
      }
      return (...args) => {
        called.add(`${className}.${name}`);
        return value.apply(target, args);
      };
    },
  });
}

/** Knows the public methods of a class, and returns a proxy for its static methods. */
function recordedClass(found) {
  [...functionNames(found), ...functionNames(found.prototype)].forEach((name) => methods.add(`${found.name}.${name}`));
  return recorded(found.name, found);
}

/** Returns the names of all public methods, and of those that were called. */
function report() {
  return { methods: [...methods].sort(), called: [...called].filter((name) => methods.has(name)).sort() };
}

module.exports = { recorded, recordedClass, report };
