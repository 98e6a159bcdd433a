import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

/** What a server makes of a client with some identity: HOST:PORT NAME [SCHEME CREDENTIALS]… */
public final class Scenario {
    private static ZooKeeper client;

    public static void main(String[] args) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        AtomicReference<KeeperState> last = new AtomicReference<>();
        boolean sasl = System.getProperty("java.security.auth.login.config") != null;
        client = new ZooKeeper(args[0], 10_000, event -> {
            last.set(event.getState());
            boolean done = sasl ? event.getState() == KeeperState.SaslAuthenticated : event.getState() == KeeperState.SyncConnected;
            if (done || event.getState() == KeeperState.AuthFailed) {
                connected.countDown();
            }
        }, new ZKClientConfig());
        if (!connected.await(8, TimeUnit.SECONDS)) {
            System.out.println("not connected");
            System.exit(0);
        }
        System.out.println("state " + last.get());
        for (int i = 2; i < args.length; i += 2) {
            client.addAuthInfo(args[i], args[i + 1].getBytes());
        }
        String path = "/" + args[1];
        attempt("whoAmI", () -> {
            TreeSet<String> names = new TreeSet<>();
            for (ClientInfo info : client.whoAmI()) {
                names.add(info.getAuthScheme() + "=" + info.getUser());
            }
            return names;
        });
        attempt("create", () -> client.create(path, new byte[0], Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        attempt("getACL", () -> show(client.getACL(path, new Stat())));
        attempt("others", () -> {
            StringBuilder all = new StringBuilder();
            for (String child : new TreeSet<>(client.getChildren("/", false))) {
                if (child.equals("zookeeper")) {
                    continue;
                }
                try {
                    client.getData("/" + child, false, new Stat());
                    all.append(child).append(" readable, ");
                } catch (KeeperException e) {
                    all.append(child).append(' ').append(e.code()).append(", ");
                }
            }
            return all;
        });
        for (String id : List.of("x509:CN=a", "x509:a", "sasl:bob", "sasl:a@b@c", "sasl:zk/h@R", "digest:a:b:", "digest:a:", "ip:10.0.0.0/8", "ip:10.0.0.0/99", "ip:::ffff:1.2.3.4", "super:", "ensemble:x", "world:x", "auth:")) {
            String[] parts = id.split(":", 2);
            ACL acl = new ACL(31, new org.apache.zookeeper.data.Id(parts[0], parts[1]));
            attempt("acl " + id, () -> {
                String created = client.create("/probe", new byte[0], java.util.Arrays.asList(acl, new ACL(31, Ids.ANYONE_ID_UNSAFE)), CreateMode.PERSISTENT);
                client.delete(created, -1);
                return "accepted";
            });
        }
        client.close();
    }

    private static String show(List<ACL> acl) {
        TreeSet<String> shown = new TreeSet<>();
        acl.forEach(entry -> shown.add(entry.getPerms() + ":" + entry.getId().getScheme() + ":" + entry.getId().getId()));
        return shown.toString();
    }

    private interface Attempt {
        Object run() throws Exception;
    }

    private static void attempt(String name, Attempt attempt) throws Exception {
        try {
            System.out.println(name + " " + attempt.run());
        } catch (NullPointerException e) {
            // What the client answers for when authentication has failed.
            System.out.println(name + " nothing");
        } catch (KeeperException e) {
            System.out.println(name + " " + e.code());
            if (e.code() == KeeperException.Code.SESSIONCLOSEDREQUIRESASLAUTH || e.code() == KeeperException.Code.AUTHFAILED
                || e.code() == KeeperException.Code.CONNECTIONLOSS) {
                System.exit(0);
            }
        }
    }
}
