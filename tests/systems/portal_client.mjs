// The client of the portal's document, transcribed without its types: WebSocketManager, useWebSocketEvent and
// useProjectWebSocket. Only the port of the address is taken from the environment.

import { io } from "socket.io-client";
import { useCallback, useEffect, useState } from "./hooks.mjs";

class WebSocketManager {
  sockets = new Map();
  subscriptions = new Map();

  connect(namespace = '/portal') {
    if (this.sockets.has(namespace)) {
      return this.sockets.get(namespace);
    }

    const socket = io(`ws://localhost:${process.env.PORT}${namespace}`, {
      transports: ['websocket', 'polling'],
      timeout: 5000,
      reconnection: true,
      reconnectionAttempts: 5,
      reconnectionDelay: 1000,
      reconnectionDelayMax: 5000,
    });

    this.setupSocketListeners(socket, namespace);
    this.sockets.set(namespace, socket);

    return socket;
  }

  setupSocketListeners(socket, namespace) {
    socket.on('connect', () => {
      console.log(`Connected to ${namespace}`);
      this.notifySubscribers(`${namespace}:connected`, { namespace });
    });

    socket.on('disconnect', (reason) => {
      console.log(`Disconnected from ${namespace}:`, reason);
      this.notifySubscribers(`${namespace}:disconnected`, { namespace, reason });
    });

    socket.on('error', (error) => {
      console.error(`Socket error on ${namespace}:`, error);
      this.notifySubscribers(`${namespace}:error`, { namespace, error });
    });

    // Forward all events to subscribers
    socket.onAny((event, data) => {
      this.notifySubscribers(`${namespace}:${event}`, data);
    });
  }

  subscribe(namespace, event, callback) {
    const key = `${namespace}:${event}`;

    if (!this.subscriptions.has(key)) {
      this.subscriptions.set(key, new Set());
    }

    this.subscriptions.get(key).add(callback);

    // Ensure connection exists
    this.connect(namespace);

    return () => {
      const subscribers = this.subscriptions.get(key);
      if (subscribers) {
        subscribers.delete(callback);
        if (subscribers.size === 0) {
          this.subscriptions.delete(key);
        }
      }
    };
  }

  emit(namespace, event, data) {
    const socket = this.connect(namespace);
    socket.emit(event, data);
  }

  notifySubscribers(key, data) {
    const subscribers = this.subscriptions.get(key);
    if (subscribers) {
      subscribers.forEach(callback => callback(data));
    }
  }

  disconnect(namespace) {
    if (namespace) {
      const socket = this.sockets.get(namespace);
      if (socket) {
        socket.disconnect();
        this.sockets.delete(namespace);
      }
    } else {
      // Disconnect all
      this.sockets.forEach(socket => socket.disconnect());
      this.sockets.clear();
    }
  }
}

export const wsManager = new WebSocketManager();

export const useWebSocketEvent = (namespace, event, callback, dependencies = []) => {
  useEffect(() => {
    const unsubscribe = wsManager.subscribe(namespace, event, callback);
    return unsubscribe;
  }, [namespace, event, ...dependencies]);
};

export const useProjectWebSocket = (projectName) => {
  const [connected, setConnected] = useState(false);
  const [error, setError] = useState(null);

  const namespace = `/project/${projectName}`;

  useWebSocketEvent(namespace, 'connected', () => setConnected(true));
  useWebSocketEvent(namespace, 'disconnected', () => setConnected(false));
  useWebSocketEvent(namespace, 'error', (error) => setError(error.message));

  const joinProject = useCallback(() => {
    wsManager.emit(namespace, 'join_project', { project_name: projectName });
  }, [namespace, projectName]);

  const leaveProject = useCallback(() => {
    wsManager.emit(namespace, 'leave_project', { project_name: projectName });
  }, [namespace, projectName]);

  useEffect(() => {
    joinProject();
    return () => leaveProject();
  }, [joinProject, leaveProject]);

  return {
    connected,
    error,
    emit: (event, data) => wsManager.emit(namespace, event, data),
  };
};
