import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A wire between a client and the server that can be cut and mended. */
final class Wire implements Closeable {
  private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final String host;
  private final int port;
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private volatile boolean isCut;

  Wire(String server) throws IOException {
    int colon = server.lastIndexOf(':');
    host = server.substring(0, colon);
    port = Integer.parseInt(server.substring(colon + 1));
    daemon(this::listen);
  }

  String address() {
    return "127.0.0.1:" + listener.getLocalPort();
  }

  void cut() {
    isCut = true;
    sockets.forEach(Wire::close);
    sockets.clear();
  }

  void mend() {
    isCut = false;
  }

  @Override
  public void close() throws IOException {
    listener.close();
    cut();
  }

  private void listen() {
    while (!listener.isClosed()) {
      try {
        Socket client = listener.accept();
        if (isCut) {
          close(client);
          continue;
        }
        Socket server = new Socket(host, port);
        sockets.addAll(List.of(client, server));
        daemon(() -> pump(client, server));
        daemon(() -> pump(server, client));
      } catch (IOException error) {
        // The server is away; the client tries again.
      }
    }
  }

  private static void pump(Socket from, Socket to) {
    byte[] bytes = new byte[1 << 16];
    try (from; to) {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int n = in.read(bytes); n >= 0; n = in.read(bytes)) {
        out.write(bytes, 0, n);
      }
    } catch (IOException error) {
      // Cut.
    }
  }

  private static void close(Socket socket) {
    try {
      socket.close();
    } catch (IOException error) {
      // It is closed.
    }
  }

  private static void daemon(Runnable task) {
    Thread thread = new Thread(task, "wire");
    thread.setDaemon(true);
    thread.start();
  }
}
