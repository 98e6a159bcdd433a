import com.linecorp.armeria.client.WebClient;
import com.linecorp.armeria.client.endpoint.EndpointGroup;
import com.linecorp.armeria.client.zookeeper.ZooKeeperDiscoverySpec;
import com.linecorp.armeria.client.zookeeper.ZooKeeperEndpointGroup;
import com.linecorp.armeria.common.SessionProtocol;
import java.time.Duration;

/** Consumer HOST:PORT SET CURATOR-BASE CURATOR-NAME LEGACY: each of the three registrations that Armeria reads. */
public class Consumer {
    public static void main(String[] arguments) {
        String server = arguments[0];
        start("serverset", server, arguments[1], ZooKeeperDiscoverySpec.serverSets());
        start("curator", server, arguments[2], ZooKeeperDiscoverySpec.curator(arguments[3]));
        start("legacy", server, arguments[4], ZooKeeperDiscoverySpec.legacy());
    }

    private static void start(String name, String server, String path, ZooKeeperDiscoverySpec spec) {
        // How long a call waits for an endpoint when there is none; 30 s if not told.
        EndpointGroup endpoints =
                ZooKeeperEndpointGroup.builder(server, path, spec).selectionTimeout(Duration.ofSeconds(1)).build();
        WebClient client = WebClient.of(SessionProtocol.HTTP, endpoints);
        Answers.of(name, () -> client.get("/").aggregate().join().contentUtf8());
    }
}
