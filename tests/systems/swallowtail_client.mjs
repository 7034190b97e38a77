// The JavaScript client of Swallowtail's document, as it stands there; URL and instance come from the command line.
import { io } from 'socket.io-client';

class TaskWebSocketClient {
    constructor(url) {
        this.socket = null;
        this.url = url;
        this.subscriptions = new Set();
    }
    
    connect() {
        this.socket = io(this.url, {
            transports: ['websocket']
        });
        
        this.socket.on('connect', () => {
            console.log('Connected to WebSocket');
            // Resubscribe to all instances
            this.subscriptions.forEach(instanceId => {
                this.subscribe(instanceId);
            });
        });
        
        this.socket.on('task_update', (data) => {
            this.handleTaskUpdate(data);
        });
        
        this.socket.on('execution_step', (data) => {
            this.handleExecutionStep(data);
        });
    }
    
    subscribe(instanceId) {
        if (this.socket && this.socket.connected) {
            this.socket.emit('subscribe_instance', { instance_id: instanceId });
            this.subscriptions.add(instanceId);
        }
    }
    
    unsubscribe(instanceId) {
        if (this.socket && this.socket.connected) {
            this.socket.emit('unsubscribe_instance', { instance_id: instanceId });
            this.subscriptions.delete(instanceId);
        }
    }
    
    handleTaskUpdate(data) {
        // Update UI with task progress
        console.log(`Task ${data.task_id} progress: ${data.data.progress}%`);
    }
    
    handleExecutionStep(data) {
        // Add execution step to UI
        console.log(`New step for task ${data.task_id}: ${data.data.action}`);
    }
    
    disconnect() {
        if (this.socket) {
            this.socket.disconnect();
        }
    }
}

// Usage
const [url, instance] = process.argv.slice(2);
const client = new TaskWebSocketClient(url);
client.connect();
client.subscribe(instance);

// The document subscribes before the connection stands, which its class passes over: do so again once it does.
client.socket.on('connect', () => client.subscribe(instance));
// And a line on standard input makes it leave, and another one come back.
process.stdin.on('data', () => client.socket.io.engine.close());
