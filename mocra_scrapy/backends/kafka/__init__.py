"""Apache Kafka: how it is reached. confluent_kafka is imported where a client is made, and only then."""
