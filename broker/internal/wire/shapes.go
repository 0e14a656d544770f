// SPDX-License-Identifier: Apache-2.0

package wire

// shapes has the schema of each request that the broker answers, in the order
// and with the versions of the message definitions of Apache Kafka 4.3. A test
// holds them against kmsg.
var shapes = map[int16]shape{
	0: {flexible: 9, fields: []field{ // Produce
		{k: str, from: 3}, // TransactionalId
		{k: i16},          // Acks
		{k: i32},          // TimeoutMs
		{k: list, sub: []field{ // TopicData
			{k: str, to: 12},    // Name
			{k: uuid, from: 13}, // TopicId
			{k: list, sub: []field{ // PartitionData
				{k: i32},  // Index
				{k: blob}, // Records
			}},
		}},
	}},
	1: {flexible: 12, fields: []field{ // Fetch
		{k: str, from: 12, tagged: true}, // ClusterId
		{k: i32, to: 14},                 // ReplicaId
		{k: part, from: 15, tagged: true, tag: 1, sub: []field{ // ReplicaState
			{k: i32, from: 15}, // ReplicaId
			{k: i64, from: 15}, // ReplicaEpoch
		}},
		{k: i32},          // MaxWaitMs
		{k: i32},          // MinBytes
		{k: i32, from: 3}, // MaxBytes
		{k: i8, from: 4},  // IsolationLevel
		{k: i32, from: 7}, // SessionId
		{k: i32, from: 7}, // SessionEpoch
		{k: list, sub: []field{ // Topics
			{k: str, to: 12},    // Topic
			{k: uuid, from: 13}, // TopicId
			{k: list, sub: []field{ // Partitions
				{k: i32},                                 // Partition
				{k: i32, from: 9},                        // CurrentLeaderEpoch
				{k: i64},                                 // FetchOffset
				{k: i32, from: 12},                       // LastFetchedEpoch
				{k: i64, from: 5},                        // LogStartOffset
				{k: i32},                                 // PartitionMaxBytes
				{k: uuid, from: 17, tagged: true},        // ReplicaDirectoryId
				{k: i64, from: 18, tagged: true, tag: 1}, // HighWatermark
			}},
		}},
		{k: list, from: 7, sub: []field{ // ForgottenTopicsData
			{k: str, from: 7, to: 12},     // Topic
			{k: uuid, from: 13},           // TopicId
			{k: list, from: 7, elem: i32}, // Partitions
		}},
		{k: str, from: 11}, // RackId
	}},
	2: {flexible: 6, fields: []field{ // ListOffsets
		{k: i32},         // ReplicaId
		{k: i8, from: 2}, // IsolationLevel
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
			{k: list, sub: []field{ // Partitions
				{k: i32},          // PartitionIndex
				{k: i32, from: 4}, // CurrentLeaderEpoch
				{k: i64},          // Timestamp
			}},
		}},
		{k: i32, from: 10}, // TimeoutMs
	}},
	3: {flexible: 9, fields: []field{ // Metadata
		{k: list, null: true, nullFrom: 1, sub: []field{ // Topics
			{k: uuid, from: 10}, // TopicId
			{k: str},            // Name
		}},
		{k: i8, from: 4},         // AllowAutoTopicCreation
		{k: i8, from: 8, to: 10}, // IncludeClusterAuthorizedOperations
		{k: i8, from: 8},         // IncludeTopicAuthorizedOperations
	}},
	8: {flexible: 8, fields: []field{ // OffsetCommit
		{k: str},                 // GroupId
		{k: i32, from: 1},        // GenerationIdOrMemberEpoch
		{k: str, from: 1},        // MemberId
		{k: str, from: 7},        // GroupInstanceId
		{k: i64, from: 2, to: 4}, // RetentionTimeMs
		{k: list, sub: []field{ // Topics
			{k: str, to: 9},     // Name
			{k: uuid, from: 10}, // TopicId
			{k: list, sub: []field{ // Partitions
				{k: i32},          // PartitionIndex
				{k: i64},          // CommittedOffset
				{k: i32, from: 6}, // CommittedLeaderEpoch
				{k: str},          // CommittedMetadata
			}},
		}},
	}},
	9: {flexible: 6, fields: []field{ // OffsetFetch
		{k: str, to: 7}, // GroupId
		{k: list, to: 7, null: true, nullFrom: 2, sub: []field{ // Topics
			{k: str, to: 7},             // Name
			{k: list, to: 7, elem: i32}, // PartitionIndexes
		}},
		{k: list, from: 8, sub: []field{ // Groups
			{k: str, from: 8}, // GroupId
			{k: str, from: 9}, // MemberId
			{k: i32, from: 9}, // MemberEpoch
			{k: list, from: 8, null: true, sub: []field{ // Topics
				{k: str, from: 8, to: 9},      // Name
				{k: uuid, from: 10},           // TopicId
				{k: list, from: 8, elem: i32}, // PartitionIndexes
			}},
		}},
		{k: i8, from: 7}, // RequireStable
	}},
	10: {flexible: 3, fields: []field{ // FindCoordinator
		{k: str, to: 3},               // Key
		{k: i8, from: 1},              // KeyType
		{k: list, from: 4, elem: str}, // CoordinatorKeys
	}},
	11: {flexible: 6, fields: []field{ // JoinGroup
		{k: str},          // GroupId
		{k: i32},          // SessionTimeoutMs
		{k: i32, from: 1}, // RebalanceTimeoutMs
		{k: str},          // MemberId
		{k: str, from: 5}, // GroupInstanceId
		{k: str},          // ProtocolType
		{k: list, sub: []field{ // Protocols
			{k: str},  // Name
			{k: blob}, // Metadata
		}},
		{k: str, from: 8}, // Reason
	}},
	12: {flexible: 4, fields: []field{ // Heartbeat
		{k: str},          // GroupId
		{k: i32},          // GenerationId
		{k: str},          // MemberId
		{k: str, from: 3}, // GroupInstanceId
	}},
	13: {flexible: 4, fields: []field{ // LeaveGroup
		{k: str},        // GroupId
		{k: str, to: 2}, // MemberId
		{k: list, from: 3, sub: []field{ // Members
			{k: str, from: 3}, // MemberId
			{k: str, from: 3}, // GroupInstanceId
			{k: str, from: 5}, // Reason
		}},
	}},
	14: {flexible: 4, fields: []field{ // SyncGroup
		{k: str},          // GroupId
		{k: i32},          // GenerationId
		{k: str},          // MemberId
		{k: str, from: 3}, // GroupInstanceId
		{k: str, from: 5}, // ProtocolType
		{k: str, from: 5}, // ProtocolName
		{k: list, sub: []field{ // Assignments
			{k: str},  // MemberId
			{k: blob}, // Assignment
		}},
	}},
	15: {flexible: 5, fields: []field{ // DescribeGroups
		{k: list, elem: str}, // Groups
		{k: i8, from: 3},     // IncludeAuthorizedOperations
	}},
	16: {flexible: 3, fields: []field{ // ListGroups
		{k: list, from: 4, elem: str}, // StatesFilter
		{k: list, from: 5, elem: str}, // TypesFilter
	}},
	18: {flexible: 3, fields: []field{ // ApiVersions
		{k: str, from: 3}, // ClientSoftwareName
		{k: str, from: 3}, // ClientSoftwareVersion
	}},
	19: {flexible: 5, fields: []field{ // CreateTopics
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
			{k: i32}, // NumPartitions
			{k: i16}, // ReplicationFactor
			{k: list, sub: []field{ // Assignments
				{k: i32},             // PartitionIndex
				{k: list, elem: i32}, // BrokerIds
			}},
			{k: list, sub: []field{ // Configs
				{k: str}, // Name
				{k: str}, // Value
			}},
		}},
		{k: i32},         // timeoutMs
		{k: i8, from: 1}, // validateOnly
	}},
	20: {flexible: 4, fields: []field{ // DeleteTopics
		{k: list, from: 6, sub: []field{ // Topics
			{k: str, from: 6},  // Name
			{k: uuid, from: 6}, // TopicId
		}},
		{k: list, to: 5, elem: str}, // TopicNames
		{k: i32},                    // TimeoutMs
	}},
	21: {flexible: 2, fields: []field{ // DeleteRecords
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
			{k: list, sub: []field{ // Partitions
				{k: i32}, // PartitionIndex
				{k: i64}, // Offset
			}},
		}},
		{k: i32}, // TimeoutMs
	}},
	22: {flexible: 2, fields: []field{ // InitProducerId
		{k: str},          // TransactionalId
		{k: i32},          // TransactionTimeoutMs
		{k: i64, from: 3}, // ProducerId
		{k: i16, from: 3}, // ProducerEpoch
		{k: i8, from: 6},  // Enable2Pc
		{k: i8, from: 6},  // KeepPreparedTxn
	}},
	23: {flexible: 4, fields: []field{ // OffsetForLeaderEpoch
		{k: i32, from: 3}, // ReplicaId
		{k: list, sub: []field{ // Topics
			{k: str}, // Topic
			{k: list, sub: []field{ // Partitions
				{k: i32},          // Partition
				{k: i32, from: 2}, // CurrentLeaderEpoch
				{k: i32},          // LeaderEpoch
			}},
		}},
	}},
	32: {flexible: 4, fields: []field{ // DescribeConfigs
		{k: list, sub: []field{ // Resources
			{k: i8},                          // ResourceType
			{k: str},                         // ResourceName
			{k: list, null: true, elem: str}, // ConfigurationKeys
		}},
		{k: i8, from: 1}, // IncludeSynonyms
		{k: i8, from: 3}, // IncludeDocumentation
	}},
	33: {flexible: 2, fields: []field{ // AlterConfigs
		{k: list, sub: []field{ // Resources
			{k: i8},  // ResourceType
			{k: str}, // ResourceName
			{k: list, sub: []field{ // Configs
				{k: str}, // Name
				{k: str}, // Value
			}},
		}},
		{k: i8}, // ValidateOnly
	}},
	35: {flexible: 2, fields: []field{ // DescribeLogDirs
		{k: list, null: true, sub: []field{ // Topics
			{k: str},             // Topic
			{k: list, elem: i32}, // Partitions
		}},
	}},
	37: {flexible: 2, fields: []field{ // CreatePartitions
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
			{k: i32}, // Count
			{k: list, null: true, sub: []field{ // Assignments
				{k: list, elem: i32}, // BrokerIds
			}},
		}},
		{k: i32}, // TimeoutMs
		{k: i8},  // ValidateOnly
	}},
	42: {flexible: 2, fields: []field{ // DeleteGroups
		{k: list, elem: str}, // GroupsNames
	}},
	43: {flexible: 2, fields: []field{ // ElectLeaders
		{k: i8, from: 1}, // ElectionType
		{k: list, null: true, sub: []field{ // TopicPartitions
			{k: str},             // Topic
			{k: list, elem: i32}, // Partitions
		}},
		{k: i32}, // TimeoutMs
	}},
	44: {flexible: 1, fields: []field{ // IncrementalAlterConfigs
		{k: list, sub: []field{ // Resources
			{k: i8},  // ResourceType
			{k: str}, // ResourceName
			{k: list, sub: []field{ // Configs
				{k: str}, // Name
				{k: i8},  // ConfigOperation
				{k: str}, // Value
			}},
		}},
		{k: i8}, // ValidateOnly
	}},
	47: {flexible: -1, fields: []field{ // OffsetDelete
		{k: str}, // GroupId
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
			{k: list, sub: []field{ // Partitions
				{k: i32}, // PartitionIndex
			}},
		}},
	}},
	60: {flexible: 0, fields: []field{ // DescribeCluster
		{k: i8},          // IncludeClusterAuthorizedOperations
		{k: i8, from: 1}, // EndpointType
		{k: i8, from: 2}, // IncludeFencedBrokers
	}},
	61: {flexible: 0, fields: []field{ // DescribeProducers
		{k: list, sub: []field{ // Topics
			{k: str},             // Name
			{k: list, elem: i32}, // PartitionIndexes
		}},
	}},
	68: {flexible: 0, fields: []field{ // ConsumerGroupHeartbeat
		{k: str},                         // GroupId
		{k: str},                         // MemberId
		{k: i32},                         // MemberEpoch
		{k: str},                         // InstanceId
		{k: str},                         // RackId
		{k: i32},                         // RebalanceTimeoutMs
		{k: list, null: true, elem: str}, // SubscribedTopicNames
		{k: str, from: 1},                // SubscribedTopicRegex
		{k: str},                         // ServerAssignor
		{k: list, null: true, sub: []field{ // TopicPartitions
			{k: uuid},            // TopicId
			{k: list, elem: i32}, // Partitions
		}},
	}},
	69: {flexible: 0, fields: []field{ // ConsumerGroupDescribe
		{k: list, elem: str}, // GroupIds
		{k: i8},              // IncludeAuthorizedOperations
	}},
	74: {flexible: 0, fields: []field{ // ListConfigResources
		{k: list, from: 1, elem: i8}, // ResourceTypes
	}},
	75: {flexible: 0, fields: []field{ // DescribeTopicPartitions
		{k: list, sub: []field{ // Topics
			{k: str}, // Name
		}},
		{k: i32}, // ResponsePartitionLimit
		{k: maybe, sub: []field{ // Cursor
			{k: str}, // TopicName
			{k: i32}, // PartitionIndex
		}},
	}},
}
