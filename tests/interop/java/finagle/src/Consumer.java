import com.twitter.finagle.Http;
import com.twitter.finagle.Service;
import com.twitter.finagle.http.Request;
import com.twitter.finagle.http.Response;
import com.twitter.util.Await;
import com.twitter.util.Duration;

/** Consumer HOST:PORT SET: a ServerSet as Finagle resolves it. */
public class Consumer {
    public static void main(String[] arguments) {
        Service<Request, Response> orders =
                Http.client().newService("zk2!" + arguments[0] + "!" + arguments[1], "orders");
        Answers.of("serverset", () -> {
            Request request = Request.apply("/");
            request.host("orders");
            return Await.result(orders.apply(request), Duration.fromSeconds(2)).contentString();
        });
    }
}
